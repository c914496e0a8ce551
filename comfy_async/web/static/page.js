// The page of an app. Whatever comes from a workflow or a server is put in as text, never as HTML.

const root = document.documentElement.dataset.root;
const slug = document.documentElement.dataset.app;
const content = document.getElementById("content");
const live = document.getElementById("live");

const ENDED = new Set(["completed", "failed", "cancelled", "lost"]);
const WORDS = {
  submitting: "on its way",
  pending: "waiting",
  running: "running",
  completed: "done",
  failed: "failed",
  cancelled: "cancelled",
  lost: "lost",
};
const MOST_EARLIER = 12;
const AGAIN_MS = 5000;

/** Make an element; what is no property is an attribute, and children that are text stay text. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name in made && !name.includes("-")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Ask the server; a refusal becomes an Error that has what it says. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { Accept: "application/json" } });
  } catch {
    throw Object.assign(new Error("the server cannot be reached"), { hint: "Try again in a moment.", retryable: true });
  }
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // A proxy's own page, perhaps.
  }
  if (answer.ok) return body;
  const told = body.error || {};
  throw Object.assign(new Error(told.message || `the server answered ${answer.status}`), {
    status: answer.status,
    hint: told.hint || "",
    problems: told.problems || [],
    retryable: told.retryable || answer.status >= 500,
    seconds: Number(answer.headers.get("Retry-After")) || null,
  });
}

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

function sentence(text) {
  const found = String(text || "");
  return found && found[0].toUpperCase() + found.slice(1);
}

/** The box of something that went wrong: what, where, each finding, the way out. */
function box(error, { role = "alert" } = {}) {
  const made = el("div", { className: "box bad", role });
  made.append(el("p", {}, el("strong", {}, error.title ? `${error.title}: ` : ""), sentence(error.message)));
  const problems = error.problems || [];
  if (problems.length) made.append(el("ul", {}, ...problems.map((one) => el("li", {}, problemText(one, true)))));
  if (error.hint) made.append(el("p", { className: "dim" }, error.hint));
  if (error.seconds) made.append(el("p", { className: "dim" }, `Try again in ${error.seconds} seconds.`));
  return made;
}

function problemText(problem, named) {
  const place = named ? problem.input || problem.title : "";
  const message = problem.message.startsWith(`${problem.input}: `) ? problem.message.slice(problem.input.length + 2) : problem.message;
  const nearest = (problem.nearest || []).length ? ` Nearest: ${problem.nearest.join(", ")}.` : "";
  const advice = problem.advice ? ` ${problem.advice}` : "";
  return `${place ? `${place}: ` : ""}${named && place ? message : sentence(message)}.${nearest}${advice}`.replace("..", ".");
}

// The page of all apps.

async function showApps() {
  const { apps, unavailable } = await ask(`${root}/apps`);
  const tiles = apps.map((app) =>
    el(
      "li",
      {},
      el(
        "a",
        { className: "tile card", href: app.links.page },
        el("h2", {}, app.title),
        described(app) ? el("p", {}, described(app)) : null,
        el("p", { className: "dim small" }, inputsText(app.inputs)),
      ),
    ),
  );
  content.replaceChildren(
    apps.length ? el("ul", { className: "tiles" }, ...tiles) : el("p", { className: "empty" }, "There is no app here yet."),
  );
  if (unavailable.length) {
    const listed = unavailable.map((one) => el("li", {}, `${one.file}: ${one.reason}`));
    content.append(el("div", { className: "box note" }, el("p", {}, "Not offered:"), el("ul", {}, ...listed)));
  }
}

/** What an app does; what the library says of one that nobody has described is no news. */
function described(app) {
  return app.description.startsWith("Runs the ComfyUI workflow ") ? "" : app.description;
}

function inputsText(inputs) {
  const names = inputs.map(label);
  const shown = names.slice(0, 6).join(", ");
  if (!names.length) return "Nothing to fill in";
  return names.length > 6 ? `${shown} and ${names.length - 6} more` : shown;
}

// The form.

const isNumber = (input) => /^(int|integer|float|number)$/i.test(input.type);
const isWhole = (input) => /^(int|integer)$/i.test(input.type);
const isTruth = (input) => /^bool(ean)?$/i.test(input.type);

/** What people read before an input: its title, else its name with spaces. */
const label = (input) => (input.title === input.name ? input.name.replaceAll("_", " ") : input.title);

/** One input: its label, its control, its hint, and a place for what is wrong with it. */
class Field {
  constructor(input) {
    this.input = input;
    this.id = `in-${input.name}`;
    this.control = this.makeControl();
    this.control.id = this.id;
    this.control.name = input.name;
    this.wrong = el("p", { className: "wrong", id: `${this.id}-wrong`, hidden: true });
    const hint = this.hintText();
    this.hint = hint ? el("p", { className: "hint", id: `${this.id}-hint` }, hint) : null;
    this.control.setAttribute("aria-describedby", `${hint ? `${this.id}-hint ` : ""}${this.id}-wrong`);
    if (input.required) this.control.setAttribute("aria-required", "true");
    this.element = el("div", { className: "field" }, ...this.parts());
  }

  parts() {
    const word = el("label", { htmlFor: this.id }, label(this.input));
    if (this.input.required) word.append(el("span", { className: "needed" }, " (needed)"));
    if (isTruth(this.input)) return [el("div", { className: "check" }, this.control, word), this.hint, this.wrong];
    return [word, this.control, this.extra || null, this.hint, this.wrong];
  }

  makeControl() {
    const { input } = this;
    if (input.upload) return this.makeUpload();
    if (input.choices) return this.makeChoice();
    if (isTruth(input)) return el("input", { type: "checkbox", checked: Boolean(input.default) });
    if (isNumber(input)) return this.makeNumber();
    const text = input.default === null ? "" : String(input.default);
    if (input.multiline) return el("textarea", { value: text, rows: 4 });
    return el("input", { type: "text", value: text, autocomplete: "off" });
  }

  makeChoice() {
    const made = el("select");
    for (const choice of this.input.choices) {
      made.append(el("option", { value: String(choice), selected: choice === this.input.default }, String(choice)));
    }
    return made;
  }

  makeNumber() {
    const { input } = this;
    const safe = (value) => (typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value : null);
    const made = el("input", {
      type: "number",
      min: safe(input.minimum),
      max: safe(input.maximum),
      step: isWhole(input) ? "1" : "any",
      inputmode: isWhole(input) ? "numeric" : "decimal",
    });
    if (safe(input.default) !== null) made.value = String(input.default);
    if (input.seed) this.addDice(made);
    return made;
  }

  addDice(control) {
    const id = `${this.id}-new`;
    this.dice = el("input", { type: "checkbox", id, checked: true });
    control.disabled = true;
    this.dice.addEventListener("change", () => {
      control.disabled = this.dice.checked;
    });
    this.extra = el("div", { className: "check" }, this.dice, el("label", { htmlFor: id }, "a new one each time"));
  }

  makeUpload() {
    const made = el("input", { type: "file", accept: this.input.accept });
    this.extra = el("img", { className: "thumb", alt: "", hidden: true });
    made.addEventListener("change", () => this.showThumb(made.files[0]));
    return made;
  }

  showThumb(file) {
    if (this.extra.src) URL.revokeObjectURL(this.extra.src);
    this.extra.removeAttribute("src");
    this.extra.hidden = !file || !file.type.startsWith("image/");
    if (!this.extra.hidden) this.extra.src = URL.createObjectURL(file);
  }

  hintText() {
    const { input } = this;
    const found = input.description ? [input.description.trim().replace(/\.$/, "")] : [];
    const range = [input.minimum, input.maximum].map((value) => (typeof value === "number" && Math.abs(value) < 1e9 ? value : null));
    if (isNumber(input) && range[0] !== null && range[1] !== null) found.push(`${range[0]} to ${range[1]}`);
    if (input.upload && !input.required) found.push("Without a file the workflow's own is taken");
    return found.join(". ");
  }

  /** Put the value into what is sent; what was left empty is not sent. */
  addTo(form) {
    const { control, input } = this;
    if (input.upload) {
      if (control.files[0]) form.append(input.name, control.files[0]);
    } else if (isTruth(input)) {
      form.append(input.name, control.checked ? "true" : "false");
    } else {
      if (this.dice && this.dice.checked) control.value = String(randomSeed(input));
      if (control.value !== "" || !isNumber(input)) form.append(input.name, control.value);
    }
  }

  tell(problem) {
    this.wrong.textContent = problem ? problemText(problem, false) : "";
    this.wrong.hidden = !problem;
    if (problem) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }
}

function randomSeed(input) {
  const low = Math.max(0, input.minimum ?? 0);
  const high = Math.min(input.maximum ?? Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  return Math.floor(low + Math.random() * (high - low));
}

class Form {
  constructor(app, started) {
    this.app = app;
    this.started = started;
    this.fields = app.inputs.map((input) => new Field(input));
    this.errors = el("div");
    this.button = el("button", { type: "submit" }, "Run");
    this.leave = el("input", { type: "checkbox", id: "leave" });
    this.element = el(
      "form",
      { className: "card", noValidate: true, "aria-label": "Inputs" },
      ...this.fields.map((field) => field.element),
      this.fields.length ? null : el("p", { className: "dim" }, "There is nothing to fill in."),
      this.errors,
      this.button,
      el("div", { className: "check" }, this.leave, el("label", { htmlFor: "leave" }, "Cancel it when I leave this page")),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  async send() {
    if (this.button.disabled) return;
    this.fields.forEach((field) => field.tell(null));
    this.errors.replaceChildren();
    this.button.disabled = true;
    say("Sending");
    const form = new FormData();
    this.fields.forEach((field) => field.addTo(form));
    try {
      const leave = this.leave.checked ? 1 : 0;
      const job = await ask(`${this.app.links.run}?cancel_on_leave=${leave}`, { method: "POST", body: form });
      this.started(job, this.leave.checked);
    } catch (error) {
      this.refused(error);
    } finally {
      this.button.disabled = false;
    }
  }

  refused(error) {
    const rest = [];
    let first = null;
    for (const problem of error.problems || []) {
      const field = this.fields.find((one) => one.input.name === problem.input);
      if (!field) rest.push(problem);
      else {
        field.tell(problem);
        first = first || field;
      }
    }
    if (!first || rest.length) this.errors.replaceChildren(box(Object.assign(error, { problems: rest })));
    if (first) first.control.focus();
    say(first ? `${sentence(error.message)}: ${first.wrong.textContent}` : "");
  }
}

// A job.

class JobView {
  constructor(element) {
    this.element = element;
    this.source = null;
    this.current = null;
  }

  clear() {
    this.close();
    this.current = null;
    this.element.setAttribute("aria-busy", "false");
    this.element.replaceChildren(el("p", { className: "empty" }, "What you run is shown here."));
  }

  close() {
    if (this.source) this.source.close();
    clearTimeout(this.again);
    this.source = null;
  }

  /** Follow a job, from wherever it stands. */
  follow(id, leave) {
    if (this.current === id) return;
    this.close();
    this.current = id;
    this.leave = leave;
    this.build();
    this.listen();
  }

  build() {
    this.chip = el("span", { className: "chip" }, "…");
    this.cancel = el("button", { className: "quiet push", type: "button", hidden: true }, "Cancel");
    this.cancel.addEventListener("click", () => this.stop());
    this.bar = el("progress", { max: 1, value: 0, "aria-label": "Progress" });
    this.line = el("p", { className: "dim" });
    this.note = el("p", { className: "dim small", hidden: true });
    this.stage = el("div", { className: "stage" });
    this.element.setAttribute("aria-busy", "true");
    this.element.replaceChildren(
      el("div", { className: "head" }, el("h2", {}, "Result"), this.chip, this.cancel),
      this.bar,
      this.line,
      this.note,
      this.stage,
    );
  }

  listen() {
    const home = `${root}/jobs/${encodeURIComponent(this.current)}`;
    const source = new EventSource(`${home}/events${this.leave === undefined ? "" : `?cancel_on_leave=${this.leave ? 1 : 0}`}`);
    this.source = source;
    const on = (name, act) => source.addEventListener(name, (event) => source === this.source && act(JSON.parse(event.data)));
    on("state", (state) => {
      this.tell("");
      this.show(state);
    });
    on("progress", (progress) => this.progress(progress));
    on("position", ({ position }) => this.place(position));
    on("started", () => this.status("running"));
    on("text", ({ text }) => this.tell(text));
    on("connection", ({ state }) => this.tell(state === "back" ? "" : "The ComfyUI is being asked again and again: no live news."));
    on("preview", ({ type, image, title }) => this.preview(type, image, title));
    on("end", (state) => {
      this.close();
      this.show(state);
    });
    source.onerror = () => {
      if (source !== this.source) return;
      this.tell("Connection lost; trying again.");
      // What was answered with an error is not asked again by the browser itself.
      if (source.readyState === EventSource.CLOSED) this.look(home);
    };
  }

  async look(home) {
    const id = this.current;
    try {
      const state = await ask(home);
      if (id !== this.current) return;
      this.show(state);
      if (ENDED.has(state.status)) return this.close();
    } catch (error) {
      if (id !== this.current) return;
      if (!error.retryable) {
        this.close();
        this.cancel.hidden = true;
        this.bar.hidden = true;
        this.tell("");
        return this.stage.replaceChildren(box(error));
      }
    }
    this.again = setTimeout(() => id === this.current && this.listen(), AGAIN_MS);
  }

  async stop() {
    this.cancel.disabled = true;
    try {
      await ask(`${root}/jobs/${encodeURIComponent(this.current)}`, { method: "DELETE" });
    } catch (error) {
      this.stage.append(box(error));
    }
    this.cancel.disabled = false;
  }

  tell(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  status(word) {
    if (this.state === word && this.chip.textContent === WORDS[word]) return;
    this.state = word;
    this.chip.className = `chip ${word}`;
    this.chip.textContent = WORDS[word] || word;
    const over = ENDED.has(word);
    this.cancel.hidden = over;
    this.bar.hidden = over;
    this.element.setAttribute("aria-busy", over ? "false" : "true");
    say(`The job is ${WORDS[word] || word}`);
  }

  progress(progress) {
    this.bar.value = progress.fraction;
    if (this.state === "running") this.line.textContent = progress.text;
  }

  place(position) {
    if (this.state !== "pending" || position === null) return;
    this.line.textContent = position === 0 ? "Next in the queue" : `${position} ${position === 1 ? "job comes" : "jobs come"} first`;
  }

  preview(type, image, title) {
    if (!/^image\/(png|jpeg|webp)$/.test(type)) return;
    if (!this.picture || !this.picture.isConnected) {
      this.picture = el("img", { className: "preview" });
      this.stage.replaceChildren(this.picture);
    }
    this.picture.alt = `Preview of ${title || "the picture"}`;
    this.picture.src = `data:${type};base64,${image}`;
  }

  show(state) {
    this.status(state.status);
    this.progress(state.progress);
    this.place(state.position);
    if (!ENDED.has(state.status)) return;
    this.line.textContent = state.status === "completed" ? "" : this.line.textContent;
    this.line.hidden = true;
    this.tell("");
    this.stage.replaceChildren(...this.results(state));
  }

  results(state) {
    const found = [];
    if (state.error && state.status === "cancelled") found.push(el("p", { className: "dim" }, sentence(state.error.message) + "."));
    else if (state.error) found.push(box(state.error));
    for (const problem of state.warnings) found.push(el("p", { className: "box note" }, problemText(problem, true)));
    const kept = state.outputs.filter((file) => !file.preview);
    const files = (kept.length ? kept : state.outputs).map(figure);
    if (files.length) found.push(el("div", { className: "outputs" }, ...files));
    for (const text of state.texts) found.push(el("pre", {}, text));
    if (state.missing.length) found.push(el("p", { className: "box note" }, "Some pictures were lost on the way: only the connection carried them. Run it again."));
    if (!found.length) found.push(el("p", { className: "dim" }, "It made nothing that can be shown."));
    return found;
  }
}

function figure(file, number) {
  const name = file.name ? file.name.replaceAll("_", " ") : file.title || file.filename;
  const label = `${name} ${number + 1}`;
  const shown = {
    image: () => el("a", { href: file.href, target: "_blank", rel: "noopener" }, el("img", { src: file.href, alt: label })),
    video: () => el("video", { src: file.href, controls: true, loop: true, "aria-label": label }),
    audio: () => el("audio", { src: file.href, controls: true, "aria-label": label }),
  }[file.kind];
  const link = el("a", { href: file.href, download: file.filename }, "Download");
  link.setAttribute("aria-label", `Download ${file.filename}`);
  return el("figure", {}, shown ? shown() : null, el("figcaption", {}, el("span", {}, shown ? name : file.filename), link));
}

// Earlier runs, as long as the tab is open.

class Earlier {
  constructor(key) {
    this.key = `comfy-async ${root} ${key}`;
    this.element = el("div", { className: "earlier", hidden: true });
    this.show();
  }

  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key)) || [];
    } catch {
      return [];
    }
  }

  add(id) {
    const all = [{ id, at: new Date().toLocaleTimeString() }, ...this.read().filter((one) => one.id !== id)];
    try {
      sessionStorage.setItem(this.key, JSON.stringify(all.slice(0, MOST_EARLIER)));
    } catch {
      // A tab that may keep nothing.
    }
    this.show();
  }

  show() {
    const all = this.read();
    this.element.hidden = all.length < 2;
    const links = all.map((one) => el("li", {}, el("a", { href: `#${one.id}` }, one.at)));
    this.element.replaceChildren(el("h2", { className: "small" }, "Runs of this tab"), el("ul", {}, ...links));
  }
}

async function showApp() {
  const app = await ask(`${root}/apps/${encodeURIComponent(slug)}`);
  const panel = el("div");
  const view = new JobView(panel);
  const earlier = new Earlier(slug);
  const form = new Form(app, (job, leave) => {
    earlier.add(job.id);
    view.follow(job.id, leave);
    history.pushState(null, "", `#${job.id}`);
    if (matchMedia("(max-width: 859px)").matches) card.scrollIntoView({ block: "start" });
  });
  const card = el("section", { className: "card result", "aria-label": "Result" }, panel, earlier.element);
  const parts = described(app) ? [el("p", { className: "dim" }, described(app))] : [];
  content.replaceChildren(...parts, el("div", { className: "work" }, form.element, card));
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (/^[0-9a-f-]{36}$/.test(id)) view.follow(id);
    else if (id !== "main") view.clear();
  };
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  follow();
}

async function start() {
  try {
    await (slug ? showApp() : showApps());
  } catch (error) {
    const again = el("button", { type: "button" }, "Try again");
    again.addEventListener("click", start);
    content.replaceChildren(box(error), again);
  }
}

start();
