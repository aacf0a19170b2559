// Where the focus goes once a dialog has closed whose opener is there no more, as a row that was acknowledged away.

const UNMOUNTED_MS = 50;

/** Puts the focus on the dialog beneath, or else on the screen, if it would be nowhere; Tab goes on from there. */
export function keepFocus(): void {
  // The dialog itself is taken out of the page a moment later.
  setTimeout(() => {
    if (document.activeElement !== null && document.activeElement !== document.body) return;
    const beneath = [...document.querySelectorAll<HTMLElement>("[role=dialog]")].at(-1);
    (beneath ?? document.getElementById("screen"))?.focus({ preventScroll: true });
  }, UNMOUNTED_MS);
}
