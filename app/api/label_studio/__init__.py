"""The ML backend of Label Studio: tasks in, pre-annotations out, annotations into the feedback."""
