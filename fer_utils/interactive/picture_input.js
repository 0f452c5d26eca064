// Pictures dropped here, chosen, or taken with the webcam, sent to the kernel in pieces that fit a websocket's message.
const PIECE = 2 ** 20; // bytes

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(text, title, onclick) {
  const className = "jupyter-widgets jupyter-button widget-button";
  const made = element("button", { type: "button", className, textContent: text, title, onclick });
  made.style.width = "auto";
  return made;
}

// The files of a dropped file or folder; of a folder, the pictures and videos in it and below.
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (let some = [null]; some.length; found.push(...some)) // a reader gives a hundred at a time
    some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  found.sort((one, other) => one.name.localeCompare(other.name));
  return (await Promise.all(found.map(filesOf))).flat().filter((file) => /^(image|video)/.test(file.type));
}

function render({ model, el }) {
  let stream = null;
  const status = element("span", { role: "status" });
  const chooser = element("input", { type: "file", accept: "image/*,video/*", multiple: true, hidden: true });
  const video = element("video", { muted: true, playsInline: true });
  video.setAttribute("aria-label", "What the webcam sees");
  video.style.cssText = "display: block; max-width: min(100%, 24em); margin: 4px 0";

  async function send(files) {
    if (!files.length) return void (status.textContent = "No picture in there.");
    status.textContent = "";
    try {
      for (const [index, file] of files.entries()) {
        const bytes = new Uint8Array(await file.arrayBuffer());
        for (let start = 0; start === 0 || start < bytes.length; start += PIECE) {
          const last = index === files.length - 1 && start + PIECE >= bytes.length;
          const piece = bytes.slice(start, start + PIECE);
          model.send({ file: index, name: file.name, start, last }, undefined, [piece.buffer]);
        }
      }
    } catch (error) {
      status.textContent = `That could not be read: ${error.message}`;
    }
  }

  function close() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    panel.hidden = true;
  }

  async function open() {
    try {
      close();
      stream = await navigator.mediaDevices.getUserMedia({ video: true });
      video.srcObject = stream;
      panel.hidden = false;
      await video.play();
      status.textContent = "";
    } catch (error) {
      close();
      status.textContent = `The webcam cannot be used: ${error.message}`;
    }
  }

  function take() {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const time = new Date().toISOString().slice(0, 19).replace(/:/g, "-");
    canvas.toBlob((blob) => send([new File([blob], `webcam-${time}.png`)]), "image/png");
  }

  const panel = element("div", { hidden: true }, video,
    button("Take the photograph", "Recognise the faces in what the webcam sees now", take),
    button("Close the webcam", "Switch the webcam off", close));
  const upload = button("Upload pictures", "Choose one or many pictures, or the camera of a telephone", () => chooser.click());
  const webcam = button("Use the webcam", "Show what the webcam sees; nothing is kept before you take a photograph", open);
  webcam.hidden = !navigator.mediaDevices?.getUserMedia; // absent without a camera's interface, or far from localhost without https
  chooser.onchange = async () => {
    await send([...chooser.files]);
    chooser.value = ""; // the same file can be chosen once more
  };

  const area = element("div", {}, upload, webcam, " or drop pictures or a folder here ", status, chooser, panel);
  area.style.cssText = "border: 1px dashed var(--jp-border-color0, #777); border-radius: 3px; padding: 6px 8px";
  area.ondragover = (event) => event.preventDefault();
  area.ondrop = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const plain = [...event.dataTransfer.files]; // read now: both are gone once this handler has waited
    await send(entries.length ? (await Promise.all(entries.map(filesOf))).flat() : plain);
  };
  el.append(area);
  return close;
}

export default { render };
