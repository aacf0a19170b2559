// The icon of an object with the sign of its state in its corner; the word of the state is beside it or in its label.
import { IconAlertTriangle, IconCheck, IconPlayerPlayFilled, IconPlayerStopFilled, IconQuestionMark, IconX } from "@tabler/icons-react";
import { collectionOf, type AnyObject } from "../live";
import { colourOf, type Sign } from "../ui/looks";
import { KindIcon } from "./KindIcon";
import { stateLook } from "./kinds";
import classes from "./StateIcon.module.css";

export function StateIcon({ object, size = 18 }: { object: AnyObject; size?: number }) {
  const look = stateLook(object);
  return (
    <span className={classes.icon} role="img" aria-label={look.word} title={look.word}>
      <KindIcon collection={collectionOf(object.name)} size={size} />
      <span className={classes.sign} style={{ background: colourOf(look.tone) }} data-busy={look.tone === "active" || look.tone === "undo" || undefined}>
        <SignShape sign={look.sign} />
      </span>
    </span>
  );
}

function SignShape({ sign }: { sign: Sign }) {
  const shape = { size: 7, stroke: 4, "aria-hidden": true };
  switch (sign) {
    case "run":
      return <IconPlayerPlayFilled {...shape} />;
    case "stop":
      return <IconPlayerStopFilled {...shape} />;
    case "check":
      return <IconCheck {...shape} />;
    case "cross":
      return <IconX {...shape} />;
    case "alert":
      return <IconAlertTriangle {...shape} />;
    case "question":
      return <IconQuestionMark {...shape} />;
    default:
      return null;
  }
}
