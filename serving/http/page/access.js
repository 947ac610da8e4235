// The API key, if the server wants one, on every request of the page; and JSON bodies for forms.

const KEY = "silverjax-key";

export const access = {
  wanted: false, // the server has refused for want of a key
  key: sessionStorage.getItem(KEY) ?? "",

  // Kept for this tab alone, until it is closed.
  save() {
    sessionStorage.setItem(KEY, this.key.trim());
    this.wanted = false;
    document.dispatchEvent(new Event("silverjax:key"));
  },
};

export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// What forms send, by element; each has `body()` and `done(status, answer)`.
const senders = new Map();

export function sendsJson(form, sender) {
  senders.set(form, sender);
}

document.addEventListener("htmx:before:request", (event) => {
  const { sourceElement, request } = event.detail.ctx;
  Object.assign(request.headers, authorization());
  const sender = senders.get(sourceElement);
  if (sender) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(sender.body());
  }
});

document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement, response, text } = event.detail.ctx;
  const sender = senders.get(sourceElement);
  if (sender) sender.done(response.status, parsed(text));
});

document.addEventListener("htmx:error", (event) => {
  const sender = senders.get(event.target);
  if (sender) sender.done(0, { error: "The server cannot be reached. Is it still running?" });
});

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { error: "The server gave an answer that is no JSON." };
  }
}
