// Lets the search run where the site is opened from disk: browsers refuse a Worker there, so its script runs in a hidden frame.
// The theme would load such a script from another host; this one takes its place.
(() => {
  if (location.protocol !== "file:") return;

  const inside = `
    const addScript = url => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url; script.onload = resolve; script.onerror = reject;
      document.head.appendChild(script);
    });
    self.importScripts = (...urls) => urls.reduce((done, url) => done.then(() => addScript(url)), Promise.resolve());
    self.postMessage = data => parent.postMessage(data, "*");
  `;

  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const { contentWindow: scope, contentDocument: page } = this.frame;
      this.isReady = new Promise(resolve => this.frame.addEventListener("load", resolve, { once: true }));
      page.open();
      page.write(`<!doctype html><script>${inside}<\/script><script src="${url}"><\/script>`);
      page.close();
      window.addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow) return;
        const told = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(told);
        if (this.onmessage) this.onmessage(told);
      });
      this.scope = scope;
    }

    postMessage(data) {
      this.isReady.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  }

  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
})();
