// The page: it takes a photograph, asks the worker, and shows the answer.
"use strict";

const TOP = 5; // labels to show
const EXAMPLES = 8; // pictures to offer
const FRAME_MS = 100; // at least, from one frame of the camera to the next
const NOTHING_FOUND = "nothing above the confidence asked for";
const SPEAK_MS = 3000; // at least, from one label of the camera that is read aloud to the next

const $ = (id) => document.getElementById(id);
const show = (element, visible) => element.toggleAttribute("hidden", !visible);
let worker;
const waiting = new Map(); // by number, what becomes of the worker's answers
let newest = 0; // the number of the last picture; what comes back for an older one is not shown
let chosen = null; // the file that was taken last
let camera = null; // a MediaStream while it runs

function ask(task, value, { progress = () => {}, transfer = [] } = {}) {
  const id = crypto.getRandomValues(new Uint32Array(1))[0];
  worker.postMessage({ id, task, value }, transfer);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, progress }));
}

function receive({ data: { id, answer, refusal, progress, cases } }) {
  const asked = waiting.get(id);
  if (progress !== undefined) return asked.progress(progress, cases);
  waiting.delete(id);
  return refusal === undefined ? asked.resolve(answer) : asked.reject(new Error(refusal));
}

/** Say what went wrong; an empty text takes it away. */
function complain(text) {
  $("alert").textContent = text;
  show($("alert"), text !== "");
}

function setBadge(state, text, line = "") {
  $("badge").dataset.state = state;
  $("badge").ariaBusy = state === "working"; // only what comes out of it is read aloud
  $("badge-text").textContent = text;
  $("line").textContent = line;
}

/** Say why the worker did not start; a browser has no words for a script that is not there. */
function describeBroken(message) {
  const missing = !message || message.includes("importScripts");
  if (missing) return "A script is missing beside this page. Copy the folder web again.";
  return `This browser cannot run the page (${message}). Take a newer one.`;
}

/** Open the bundle in the worker. */
async function openBundle() {
  if (location.protocol === "file:") {
    const advice = "Run python -m http.server in the bundle's folder and open http://localhost:8000/web/";
    throw new Error(`This page needs a web server. ${advice}`);
  }
  const broken = new Promise((_, reject) => {
    worker = new Worker("worker.js");
    worker.onmessage = receive;
    worker.onerror = ({ message }) => reject(new Error(describeBroken(message)));
  });
  const progress = (text) => setBadge("working", text);
  const { name, size, classes, version } = await Promise.race([ask("open", null, { progress }), broken]);
  const facts = [name, `${classes.toLocaleString("en")} classes`, `${size.join(" × ")} pixels`, `OpenCV ${version}`];
  $("about").textContent = facts.filter(Boolean).join(" · ");
  if (name) document.title = `${name}: ${document.title}`;
  $("camera").disabled = false;
}

async function testMachine() {
  const progress = (text, cases) => {
    setBadge("working", text);
    if (cases) offer(cases);
  };
  try {
    const { ok, line } = await ask("selftest", null, { progress });
    if (ok === null) setBadge("untested", "Not tested here", line);
    else setBadge(ok ? "agreed" : "failed", ok ? "The same answers as Keras" : "Not the answers of Keras", line);
  } catch (error) {
    setBadge("failed", "The self-test failed", error.message);
  }
}

/** Offer the pictures of the self-test to try. */
function offer(cases) {
  for (const { png, label } of cases.slice(0, EXAMPLES)) {
    const button = document.createElement("button");
    const image = document.createElement("img");
    const url = `../selftest/${encodeURIComponent(png)}`;
    Object.assign(button, { type: "button", title: label });
    Object.assign(image, { src: url, alt: `Try a picture of ${label}` });
    button.append(image);
    button.onclick = async () => takeFile(new File([await (await fetch(url)).blob()], png));
    $("examples").append(button);
  }
  show($("try"), cases.length > 0);
}

/** Show an answer, and return it in words. */
function showAnswer({ found, milliseconds, seen, warning }) {
  const rows = found.map(({ label, probability }) => {
    const row = document.createElement("li");
    const name = document.createElement("span");
    const value = document.createElement("data");
    const bar = document.createElement("span");
    name.className = "label";
    name.textContent = label;
    value.value = probability;
    value.textContent = percent(probability);
    bar.className = "bar";
    bar.style.setProperty("--share", Math.min(Math.max(probability, 0), 1));
    row.append(name, value, bar);
    return row;
  });
  $("found").replaceChildren(...rows);
  show($("nothing"), rows.length === 0);
  $("nothing").textContent = rows.length === 0 ? NOTHING_FOUND : "";
  const advice = warning === undefined ? "" : `${warning[0].toUpperCase()}${warning.slice(1)}`;
  show($("warning"), advice !== "");
  $("warning").textContent = advice;
  $("time").textContent = `${Math.max(milliseconds, 1).toFixed(0)} ms`;
  const canvas = $("seen");
  Object.assign(canvas, { width: seen.width, height: seen.height });
  canvas.getContext("2d").putImageData(new ImageData(seen.rgba, seen.width, seen.height), 0, 0);
  $("seen-size").textContent = `${seen.width} × ${seen.height}`;
  show($("empty"), false);
  show($("answer"), true);
  const best = found.length === 0 ? NOTHING_FOUND : `${found[0].label}, ${percent(found[0].probability)}`;
  return advice === "" ? best : `${best}. ${advice}`;
}

const percent = (probability) => (probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`);

async function takeFile(file) {
  stopCamera();
  complain("");
  chosen = file;
  const mine = (newest += 1);
  document.body.classList.add("busy");
  try {
    await opened;
    const answer = await ask("classify", { file, name: file.name, top: TOP, invert: $("invert").checked });
    if (mine !== newest) return;
    URL.revokeObjectURL($("photo").src);
    $("photo").src = URL.createObjectURL(file);
    $("photo").alt = answer.name;
    showStage("photo");
    $("spoken").textContent = `${answer.name}: ${showAnswer(answer)}`;
  } catch (error) {
    if (mine === newest) complain(error.message);
  } finally {
    if (mine === newest) document.body.classList.remove("busy");
  }
}

function takeFiles(files) {
  if (files.length === 0) complain("That is no file. Drop, choose or paste a photograph.");
  else takeFile(files[0]);
}

function showStage(name) {
  for (const other of ["photo", "video"]) show($(other), other === name);
  document.body.classList.toggle("filled", name !== "");
  $("invitation").textContent = name === "" ? "Drop a photograph" : "Drop or choose another";
}

async function startCamera() {
  complain("");
  if (!navigator.mediaDevices) {
    return complain("The browser gives the camera to https and localhost only. Serve the page so.");
  }
  $("camera").disabled = true; // until the browser has asked
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The camera was denied. Allow it for this page in the browser's settings.",
      NotFoundError: "There is no camera. Connect one, or choose a photograph.",
    };
    const other = `The camera does not start (${error.message}). Close what else uses it.`;
    return complain(reasons[error.name] ?? other);
  } finally {
    $("camera").disabled = false;
  }
  camera.getVideoTracks()[0].onended = () => {
    stopCamera();
    complain("The camera stopped. Connect it again, or choose a photograph.");
  };
  $("camera").textContent = "Stop the camera";
  $("video").srcObject = camera;
  await $("video").play();
  showStage("video");
  return watch(camera);
}

/** Classify frame after frame while this stream runs. */
async function watch(stream) {
  let spoken = "";
  let spokenAt = -SPEAK_MS;
  while (camera === stream) {
    const began = performance.now();
    const mine = (newest += 1);
    try {
      const frame = await createImageBitmap($("video"));
      const asked = { frame, name: "The camera's frame", top: TOP, invert: $("invert").checked };
      const answer = await ask("classify", asked, { transfer: [frame] });
      if (mine !== newest || camera !== stream) return;
      const text = showAnswer(answer);
      const label = answer.found[0]?.label;
      if (label !== spoken && began - spokenAt >= SPEAK_MS) {
        [spoken, spokenAt] = [label, began];
        $("spoken").textContent = text;
      }
    } catch (error) {
      stopCamera();
      return complain(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, FRAME_MS - (performance.now() - began)));
  }
}

function stopCamera() {
  if (!camera) return;
  for (const track of camera.getTracks()) track.stop();
  camera = null;
  newest += 1;
  $("video").srcObject = null;
  $("camera").textContent = "Use the camera";
  showStage("");
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length > 0) takeFiles(target.files);
  target.value = ""; // so that the same file can be chosen again
});
$("invert").addEventListener("change", () => !camera && chosen && takeFile(chosen)); // a camera's next frame is inverted
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
document.addEventListener("paste", ({ clipboardData }) => takeFiles(clipboardData.files));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", name === "dragenter" || name === "dragover");
    if (name === "drop") takeFiles(event.dataTransfer.files);
  });
}
const opened = openBundle();
opened.then(testMachine, (error) => {
  complain(error.message);
  setBadge("failed", "Not running");
});
