// Pictures: from a file to the pixels that `cv2.imread` gives, and from a blob to a canvas. A part of worker.js.
"use strict";

const STRIP_PIXELS = 2 ** 22; // of a canvas; some browsers give no more than 2 ** 24

/** Decode a file as `cv2.imread` does: { width, height, bgr }; no colour profile, EXIF obeyed, alpha dropped. */
async function decode(blob, name) {
  let bitmap;
  try {
    const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
    bitmap = await createImageBitmap(blob, exact);
  } catch {
    throw new Refusal(`OpenCV cannot read ${name} as an image. Convert it to JPEG or PNG.`);
  }
  return toPixels(bitmap, name);
}

/** Return the pixels of a bitmap, which it closes; in strips, because a canvas does not hold every photograph. */
function toPixels(bitmap, name) {
  const { width, height } = bitmap;
  try {
    const rows = Math.min(height, Math.ceil(STRIP_PIXELS / width));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "copy"; // one strip replaces the other
    const bgr = new Uint8Array(width * height * 3);
    let opaque = true;
    for (let top = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top);
      const { data } = context.getImageData(0, 0, width, Math.min(rows, height - top));
      opaque = writeBGR(data, bgr, top * width * 3) && opaque;
    }
    if (!opaque) writeBehindAlpha(bitmap, bgr);
    return { width, height, bgr };
  } catch (error) {
    throw new Refusal(`${name} has ${width}x${height} pixels, too many for this browser (${error.message}). Scale it.`);
  } finally {
    bitmap.close();
  }
}

/** Write pixels into `bgr` from `to` on, without their alpha. Return whether all are opaque. */
function writeBGR(rgba, bgr, to) {
  let opaque = true;
  for (let from = 0; from < rgba.length; from += 4, to += 3) {
    bgr[to] = rgba[from + 2];
    bgr[to + 1] = rgba[from + 1];
    bgr[to + 2] = rgba[from];
    if (rgba[from + 3] !== 255) opaque = false;
  }
  return opaque;
}

/** Write the pixels of a translucent bitmap as they are: a canvas multiplies them by their alpha, WebGL does not. */
function writeBehindAlpha(bitmap, bgr) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return; // then nearly right must do
  const texture = gl.createTexture();
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const rgba = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
  if (gl.getError() === gl.NO_ERROR) writeBGR(rgba, bgr, 0);
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser gives only a few
}

/** Turn the blob's planes into pixels for a canvas. */
function toRGBA(planes) {
  const { swapRB } = network.manifest.blob;
  const count = network.manifest.blob.size[0] * network.manifest.blob.size[1];
  const [red, green, blue] = planes.length === count ? [0, 0, 0] : swapRB ? [0, 1, 2] : [2, 1, 0];
  const rgba = new Uint8ClampedArray(count * 4).fill(255);
  for (let pixel = 0; pixel < count; pixel += 1) {
    rgba[4 * pixel] = planes[red * count + pixel];
    rgba[4 * pixel + 1] = planes[green * count + pixel];
    rgba[4 * pixel + 2] = planes[blue * count + pixel];
  }
  return rgba;
}
