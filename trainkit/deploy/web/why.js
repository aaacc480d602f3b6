// The button that shows why: heat over the picture as the network sees it. It shares page.js's scope.
"use strict";

const OPACITY = 0.6; // of the hottest place
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]; // matplotlib's, in steps
let plain = null; // the picture without heat, while there is heat on it
let explained = null; // the number of the picture that is being explained

const paint = (image) => $("seen").getContext("2d").putImageData(image, 0, 0);

function inferno(share) {
  const place = share * (INFERNO.length - 1);
  const first = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[first].map((level, i) => level + (place - first) * (INFERNO[first + 1][i] - level));
}

/** Return an image in grey under the heat of what speaks for the class. */
function underHeat({ width, height, data }, map) {
  const most = map.reduce((most, value) => Math.max(most, value), 0);
  const heated = new Uint8ClampedArray(data);
  for (let pixel = 0; pixel < map.length; pixel += 1) {
    const at = 4 * pixel;
    const share = most > 0 ? Math.max(0, map[pixel] / most) : 0;
    const opacity = OPACITY * Math.sqrt(share);
    const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    inferno(share).forEach((level, i) => (heated[at + i] = grey + opacity * (level - grey)));
  }
  return new ImageData(heated, width, height);
}

/** Explain the picture that is shown; pressed again, stop, or take the heat away. */
async function showWhy() {
  if (explained !== null) return ask("stop");
  if (plain) return forget(paint(plain));
  stopCamera();
  const mine = (explained = newest);
  const { width, height } = $("seen");
  const image = $("seen").getContext("2d").getImageData(0, 0, width, height);
  const progress = (share) => ($("why").textContent = `Stop, ${Math.floor(100 * share)} %`);
  progress(0);
  try {
    const answer = await ask("explain", { width, height, rgba: image.data }, { progress });
    if (answer && mine === newest) paint(underHeat((plain = image), answer.map));
  } catch (error) {
    complain(error.message);
  }
  explained = null;
  $("why").textContent = plain ? "Take the heat away" : "Why?";
}

function forget() {
  plain = null;
  $("why").textContent = "Why?";
}

$("why").addEventListener("click", showWhy);
new MutationObserver(() => {
  if (explained !== null) ask("stop"); // another picture has been answered
  else forget();
}).observe($("found"), { childList: true });
