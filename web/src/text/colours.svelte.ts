// Asks for the colours of code when the first fence is shown, and says when they are there.

import { colour } from './markdown';

let isThere = $state(false);
let asked = false;

export const colours = {
  get there(): boolean {
    return isThere;
  },
  want(block: string): void {
    if (asked || !/^ {0,3}(?:```|~~~)[ \t]*\w/m.test(block)) return;
    asked = true;
    // Without them code is plain; the next page load asks again.
    void import('./highlight').then(
      ({ paint }) => {
        colour(paint);
        isThere = true;
      },
      () => undefined,
    );
  },
};
