// Server-sent events from the bytes of a response, each with its id once it is whole.

const SILENCE_MS = 60_000; // A server that lives says so every 15 seconds.

export async function* events(stream, onId = () => {}) {
  const reader = stream.getReader();
  const lines = new Lines();
  let data = [];
  let id = "";
  try {
    for (;;) {
      const { done, value } = await within(SILENCE_MS, reader.read());
      for (const line of lines.of(value, done)) {
        if (line === "") {
          if (data.length) {
            onId(id);
            yield data.join("\n");
          }
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        } else if (line.startsWith("id: ")) {
          id = line.slice(4);
        }
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function within(milliseconds, promise) {
  let timer = 0;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("silence")), milliseconds); });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Lines {
  #decoder = new TextDecoder();
  #rest = "";

  // A carriage return at the end may be half of a line's end: it waits for what follows.
  of(bytes, done) {
    this.#rest += this.#decoder.decode(bytes, { stream: !done });
    const held = this.#rest.endsWith("\r") && !done ? "\r" : "";
    const lines = (held ? this.#rest.slice(0, -1) : this.#rest).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    return lines;
  }
}
