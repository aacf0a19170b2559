// A state as people see it: its sign in its tone, and the word beside it.
import {
  IconAlertTriangle,
  IconArrowBackUp,
  IconCircleCheck,
  IconCircleDot,
  IconCircleX,
  IconHelpCircle,
  IconInfoCircle,
  IconLock,
  IconPlayerPlay,
  IconPlayerSkipForward,
  IconSquare,
  type TablerIcon,
} from "@tabler/icons-react";
import { colourOf, type Look, type Sign } from "./looks";

const ICONS: Record<Sign, TablerIcon> = {
  dot: IconCircleDot,
  lock: IconLock,
  run: IconPlayerPlay,
  undo: IconArrowBackUp,
  check: IconCircleCheck,
  cross: IconCircleX,
  stop: IconSquare,
  alert: IconAlertTriangle,
  skip: IconPlayerSkipForward,
  info: IconInfoCircle,
  question: IconHelpCircle,
};

export function LookBadge({ look, strong = false }: { look: Look; strong?: boolean }) {
  const Icon = ICONS[look.sign];
  return (
    <span style={{ display: "inline-flex", alignItems: "center", gap: 6, whiteSpace: "nowrap", verticalAlign: "middle", fontWeight: strong ? 600 : undefined }}>
      <Icon size={16} stroke={2} color={colourOf(look.tone)} aria-hidden style={{ flex: "none" }} />
      <span>{look.word}</span>
    </span>
  );
}
