// The yellow lock: closed and filled for a lock on the object itself, an outline for one that is on something below it.
import classes from "./LockIcon.module.css";

export function LockIcon({ filled, size = 16 }: { filled: boolean; size?: number }) {
  return (
    <svg
      className={classes.lock}
      data-filled={filled || undefined}
      width={size}
      height={size}
      viewBox="0 0 16 16"
      aria-hidden
      focusable="false"
    >
      <path className={classes.shackle} d="M4.8 7V4.9a3.2 3.2 0 0 1 6.4 0V7" />
      <rect className={classes.body} x="2.8" y="7" width="10.4" height="7.2" rx="1.6" />
    </svg>
  );
}
