// Runs an extension as VS Code would: with a module `vscode`, and a client that starts the server that it declares,
// speaks the protocol to it, opens a document, and prints its diagnostics and completions as JSON.
//   node vscode_host.js EXTENSION_FOLDER DOCUMENT SETTINGS
const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [folder, document, given] = process.argv.slice(2);
const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
const declared = manifest.contributes.configuration.properties;
const settings = JSON.parse(given);
const results = { started: [], trusted: settings.trusted !== false };

const TransportKind = { stdio: 0 };

class LanguageClient {
  constructor(id, name, server, options) {
    Object.assign(this, { id, name, server, options, number: 0, waiting: new Map(), buffer: Buffer.alloc(0) });
  }

  async start() {
    // As the real client does (vscode-languageclient 9, lib/node/main.js).
    const args = [...this.server.args, ...(this.server.transport === TransportKind.stdio ? ["--stdio"] : [])];
    results.started.push([this.server.command, ...args]);
    results.selector = this.options.documentSelector;
    this.child = spawn(this.server.command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdout.on("data", (data) => this.take(data));
    this.published = new Promise((resolve) => (this.publish = resolve));
    await this.request("initialize", {
      processId: process.pid, rootUri: null, capabilities: {},
      initializationOptions: this.options.initializationOptions,
    });
    this.send({ method: "initialized", params: {} });
    const uri = pathToFileURL(document).href;
    const text = readFileSync(document, "utf8");
    this.send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text } } });
    results.diagnostics = (await this.published).diagnostics;
    const lines = text.split("\n");
    const position = { line: lines.length - 1, character: lines.at(-1).length };
    const list = await this.request("textDocument/completion", { textDocument: { uri }, position });
    results.completions = list.items.map((item) => item.label);
  }

  async stop() {
    await this.request("shutdown", null);
    this.send({ method: "exit" });
    this.child.stdin.end();
    results.code = await new Promise((resolve) => this.child.on("exit", resolve));
  }

  send(message) {
    const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
    this.child.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
    this.child.stdin.write(body);
  }

  request(method, params) {
    const id = ++this.number;
    this.send({ id, method, params });
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  take(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const head = this.buffer.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(this.buffer.subarray(0, head).toString())[1]);
      if (this.buffer.length < head + 4 + length) return;
      const message = JSON.parse(this.buffer.subarray(head + 4, head + 4 + length).toString());
      this.buffer = this.buffer.subarray(head + 4 + length);
      if (message.method === "textDocument/publishDiagnostics") this.publish(message.params);
      const waiting = message.method === undefined ? this.waiting.get(message.id) : undefined;
      if (message.error) waiting?.reject(new Error(message.error.message));
      else waiting?.resolve(message.result);
    }
  }
}

const configuration = { get: (name) => settings[`contextnexus.${name}`] ?? declared[`contextnexus.${name}`].default };
const modules = {
  vscode: { workspace: { isTrusted: results.trusted, getConfiguration: () => configuration } },
  "vscode-languageclient/node": { LanguageClient, TransportKind },
};
const load = Module._load;
Module._load = (request, ...rest) => modules[request] ?? load(request, ...rest);

(async () => {
  const extension = require(path.join(folder, manifest.main));
  await extension.activate({ subscriptions: [] });
  await extension.deactivate();
  process.stdout.write(JSON.stringify(results));
})();
