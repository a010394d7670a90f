// The camera: a live preview, and the photo taken from it.

const CONSTRAINTS = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } } };

/** Whether the browser lets this page use a camera, which it does over HTTPS and on localhost. */
export const isAvailable = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Return the photo, or null if the user cancelled; throws if there is no camera or the page may not use it. */
export async function photograph(dialog) {
  const video = dialog.querySelector("video");
  const stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
  try {
    video.srcObject = stream;
    dialog.returnValue = "";
    dialog.showModal();
    const chosen = await new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue);
      dialog.onclick = ({ target }) => target.value && dialog.close(target.value);
    });
    return chosen === "take" && video.videoWidth ? await captureFrame(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

function captureFrame(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}
