// Starts `nexus lsp` for YAML files and templates; all that it knows of pipelines is the server's.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async function activate() {
  // In a workspace that is not trusted nothing of it may run, and the server runs the plugin files of pipelines.
  if (workspace.isTrusted === false) return;
  const settings = workspace.getConfiguration("contextnexus");
  const [command, ...args] = settings.get("command");
  client = new LanguageClient("contextnexus", "ContextNexus", { command, args }, {
    documentSelector: [
      { scheme: "file", language: "yaml" },
      { scheme: "untitled", language: "yaml" },
      { scheme: "file", pattern: "**/*.{jinja,j2}" },
    ],
    initializationOptions: { files: settings.get("files") },
  });
  await client.start();
};

exports.deactivate = () => client?.stop();
