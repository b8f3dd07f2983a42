// What every client script shares: it writes one line per observation, `section step => value`, and the test that
// started it compares the lines of two servers. Ids and times that a server chooses are replaced by what must hold.
import { createInterface } from 'node:readline';

export const port = Number(process.argv[2]);

export const say = (step, value) => console.log(`${step} => ${JSON.stringify(value)}`);

/** What fails, as the client shows it: code and text of the server's reply. */
export const failure = async (promise) => {
  try {
    return { unexpected: await promise };
  } catch (error) {
    return error.message;
  }
};

export const looksLikeId = (id) => /^\d{13}-\d+$/.test(id);
export const within = (value, low, high) => value >= low && value <= high;

/** Collects what arrives; `take(n)` waits until there are n. */
export class Inbox {
  #items = [];
  #wake = () => {};
  push = (...item) => { this.#items.push(item); this.#wake(); };
  async take(n) {
    while (this.#items.length < n) await new Promise((resolve) => { this.#wake = resolve; });
    return this.#items.splice(0, n);
  }
}

/** Polls until the predicate holds: for what a server does without telling us. */
export async function until(predicate) {
  while (!(await predicate().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 20));
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to kill the server and start another on the same port; returns when it listens. */
export async function restartServer() {
  console.log('restart');
  await answers.next();
}

/** The last line: whatever comes before it is the whole run. */
export function end() {
  console.log('end');
  process.exit(0);
}

process.on('unhandledRejection', (error) => { console.error(error); process.exit(1); });
