// The camera: a live preview, and the photo that is taken of it.

const WISH = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } } };

/** Whether the browser lets this page have a camera: over HTTPS and on the machine itself. */
export const available = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Return the photo that was taken, or null; throws where there is no camera or it is not allowed. */
export async function photograph(dialog) {
  const video = dialog.querySelector("video");
  const stream = await navigator.mediaDevices.getUserMedia(WISH);
  try {
    video.srcObject = stream;
    dialog.returnValue = "";
    dialog.showModal();
    const chosen = await new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue);
      dialog.onclick = ({ target }) => target.value && dialog.close(target.value);
    });
    return chosen === "take" && video.videoWidth ? await frame(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

function frame(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}
