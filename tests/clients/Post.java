// What a Java program does by default: its client prefers HTTP/2, and over plain HTTP offers to upgrade to it.
// java Post.java URL PICTURE prints every answer: three to a body of known size, three to one in chunks.

import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.List;

class Post {
    public static void main(String[] arguments) throws Exception {
        Path picture = Path.of(arguments[1]);
        BodyPublisher sized = BodyPublishers.ofFile(picture);
        BodyPublisher chunked = BodyPublishers.ofInputStream(() -> open(picture));
        HttpClient client = HttpClient.newHttpClient();
        for (BodyPublisher body : List.of(sized, sized, sized, chunked, chunked, chunked)) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("Content-Type", "image/jpeg")
                    .POST(body)
                    .build();
            System.out.println(client.send(request, BodyHandlers.ofString()).body());
        }
    }

    private static FileInputStream open(Path file) {
        try {
            return new FileInputStream(file.toFile());
        } catch (FileNotFoundException error) {
            throw new UncheckedIOException(error);
        }
    }
}
