// A list that comes page by page: its element `ID`, what is said of it `ID-said`, its button `ID-more`.

import { $, trying } from "./dom.js";

export class Paged {
  next = null;
  #id;
  #load;
  #drawn = 0;

  // `load` takes the end of a query string, and returns `next`, `rows` and what to do when `drawn`.
  constructor(id, load) {
    this.#id = id;
    this.#load = load;
    $(`${id}-more`).addEventListener("click", () => this.#add());
  }

  async show() {
    this.next = null;
    this.#drawn += 1;
    $(this.#id).replaceChildren();
    await this.#add();
  }

  async #add() {
    const mine = this.#drawn;
    await trying(`${this.#id}-said`, async () => {
      const told = await this.#load(this.next === null ? "" : `&after=${encodeURIComponent(this.next)}`);
      if (mine !== this.#drawn) return;
      this.next = told.next;
      $(`${this.#id}-more`).hidden = told.next === null;
      $(this.#id).append(...told.rows());
      told.drawn();
    });
  }
}
