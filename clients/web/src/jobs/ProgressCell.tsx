// How far a row is: a thin bar with its number.
import type { JobState } from "../api/virtyard/api/jobs/v1/job_pb";
import { colourOf } from "../ui/looks";
import { jobLook } from "./states";
import classes from "./ProgressCell.module.css";

export function ProgressCell({ percent, state }: { percent: number; state: JobState }) {
  const whole = Math.floor(percent);
  return (
    <span className={classes.cell}>
      <span className={classes.ground} aria-hidden>
        <span className={classes.bar} style={{ width: `${whole}%`, background: colourOf(jobLook(state).tone) }} />
      </span>
      <span className={classes.number}>{whole} %</span>
    </span>
  );
}
