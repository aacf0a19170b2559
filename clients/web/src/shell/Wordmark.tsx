// The name of the suite, which leads to the first screen.
import { Link } from "react-router";
import classes from "./Wordmark.module.css";

export function Wordmark() {
  return (
    <Link className={classes.mark} to="/" aria-label="Virtyard, overview">
      <svg width="24" height="24" viewBox="0 0 24 24" aria-hidden>
        <path className={classes.fence} d="M3 21V9l9-6 9 6v12" />
        <rect className={classes.rack} x="7.5" y="10.5" width="9" height="3" rx="0.8" />
        <rect className={classes.rack} x="7.5" y="15.5" width="9" height="3" rx="0.8" />
      </svg>
      <span className={classes.name}>Virtyard</span>
    </Link>
  );
}
