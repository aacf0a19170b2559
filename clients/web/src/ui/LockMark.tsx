// The yellow lock beside an object, with who holds it, for what and why, on hover and on focus.
import { Group, Stack, Text, Tooltip } from "@mantine/core";
import { useOpenOperations, useLocksOf, locksItself, type OpenOperation } from "../live";
import type { Lock } from "../api/virtyard/api/locks/v1/lock_service_pb";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { LockIcon } from "./LockIcon";
import classes from "./LockMark.module.css";

interface Props {
  /** The resource name of the object. */
  name: string;
  /** Take part in the order of focus, so that a keyboard opens the words; not in rows that have keys of their own. */
  focusable?: boolean;
  /** Show the words now, as a row does that has the focus. */
  open?: boolean;
}

/** Nothing while the object is not locked. */
export function LockMark({ name, focusable = false, open }: Props) {
  const locks = useLocksOf(name);
  if (locks.length === 0) return null;
  return <Mark locks={locks} focusable={focusable} open={open} />;
}

function Mark({ locks, focusable, open }: { locks: readonly Lock[]; focusable: boolean; open: boolean | undefined }) {
  const operations = useOpenOperations().value;
  return (
    <Tooltip
      label={<LockWords locks={locks} operations={operations} />}
      opened={open || undefined}
      events={{ hover: true, focus: true, touch: true }}
      multiline
      maw={360}
      withArrow
      position="right"
    >
      <span
        className={classes.mark}
        role="img"
        aria-label={lockLabel(locks, operations)}
        tabIndex={focusable ? 0 : undefined}
        data-lock
      >
        <LockIcon filled={locks.some(isHeldItself)} />
      </span>
    </Tooltip>
  );
}

const MOST = 4;

function LockWords({ locks, operations }: { locks: readonly Lock[]; operations: readonly OpenOperation[] }) {
  return (
    <Stack gap={6}>
      {locks.slice(0, MOST).map((lock) => {
        const operation = operations.find(({ name }) => name === lock.owner);
        const reason = operation?.current.reason;
        return (
          <Stack key={`${lock.owner} ${lock.object}`} gap={0}>
            <Text size="sm" fw={600}>
              {relation(lock)} {operation?.title ?? lock.purpose ?? lock.owner}
            </Text>
            <Group gap={6}>
              <Text size="xs">
                {lock.owner}
                {operation && `, ${operation.principal}, ${Math.floor(operation.percent)} %`} ({LockMode[lock.mode]})
              </Text>
            </Group>
            {reason && <Text size="xs">Reason: {reason}</Text>}
          </Stack>
        );
      })}
      {locks.length > MOST && <Text size="xs">and {locks.length - MOST} more</Text>}
    </Stack>
  );
}

function isHeldItself(lock: Lock): boolean {
  return !lock.waiting && locksItself(lock);
}

function relation(lock: Lock): string {
  if (lock.waiting) return "Waited for by";
  return locksItself(lock) ? "Locked by" : "Something below is locked by";
}

/** The lock in one sentence, for who cannot see it. */
export function lockLabel(locks: readonly Lock[], operations: readonly OpenOperation[]): string {
  const first = locks[0]!;
  const title = operations.find(({ name }) => name === first.owner)?.title ?? first.purpose;
  const rest = locks.length > 1 ? `, and ${locks.length - 1} more` : "";
  return `${relation(first)} ${first.owner}${title && ` (${title})`}${rest}`;
}
