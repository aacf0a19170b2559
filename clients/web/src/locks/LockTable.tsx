// The list of locks: object, mode, owner, since when, and the way to break one.
import { Button, Group, Stack, Text } from "@mantine/core";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { LookBadge } from "../ui/LookBadge";
import type { Look } from "../ui/looks";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import { useNarrow } from "../ui/use-narrow";
import { VirtualGrid, type Column } from "../ui/VirtualGrid";
import type { LockRow } from "./lock-rows";
import { modeWords } from "./modes";

const HELD: Look = { word: "held", tone: "caution", sign: "lock" };

function lookOf({ lock, first, waiters }: LockRow): Look {
  return lock.waiting
    ? { word: lock.queuePlace > 0 ? `waits, number ${lock.queuePlace}` : "waits", tone: "quiet", sign: "dot" }
    : { ...HELD, word: first && waiters > 0 ? `held, ${waiters} waiting` : "held" };
}

interface Props {
  rows: readonly LockRow[];
  onBreak: (owner: string) => void;
}

export function LockTable({ rows, onBreak }: Props) {
  const narrow = useNarrow();
  const breakButton = ({ lock }: LockRow) =>
    lock.waiting ? null : (
      <Button variant="default" size="compact-xs" onClick={() => onBreak(lock.owner)} aria-label={`Break the locks of ${lock.owner}`}>
        Break
      </Button>
    );
  const columns: Column<LockRow>[] = [
    { key: "object", title: "Object", width: "minmax(13rem, 2fr)", cell: (row) => <span title={row.lock.object}><ResourceLink name={row.lock.object} /></span> },
    { key: "mode", title: "Mode", width: "3.5rem", cell: (row) => <span title={modeWords(row.lock.mode)}>{LockMode[row.lock.mode]}</span> },
    { key: "state", title: "State", width: "9.5rem", cell: (row) => <LookBadge look={lookOf(row)} /> },
    { key: "owner", title: "Owner", width: "minmax(7rem, 0.6fr)", cell: (row) => <ResourceLink name={row.lock.owner} /> },
    { key: "purpose", title: "Purpose", width: "minmax(8rem, 1.4fr)", cell: (row) => <span title={row.lock.purpose}>{row.lock.purpose}</span> },
    { key: "job", title: "Used by", width: "5.5rem", cell: (row) => row.lock.job && <ResourceLink name={row.lock.job} /> },
    { key: "since", title: "Since", width: "5.5rem", cell: (row) => <Moment at={millisOf(row.lock.grantTime ?? row.lock.requestTime)} /> },
    { key: "break", title: "Action", width: "5rem", cell: breakButton },
  ];
  return (
    <VirtualGrid
      label="Locks"
      height={`min(32rem, ${Math.max(12, rows.length * 2.25 + 3)}rem)`}
      rows={rows}
      columns={columns}
      keyOf={(row) => `${row.lock.object}|${row.lock.owner}`}
      narrow={narrow}
      cardHeight={84}
      card={(row) => (
        <Stack gap={2}>
          <Text size="sm" truncate component="div">
            <ResourceLink name={row.lock.object} /> {LockMode[row.lock.mode]}
          </Text>
          <Text size="sm" truncate component="div">
            <ResourceLink name={row.lock.owner} /> {row.lock.purpose}
          </Text>
          <Group gap="sm">
            <Text size="sm" component="div">
              <LookBadge look={lookOf(row)} />
            </Text>
            {breakButton(row)}
          </Group>
        </Stack>
      )}
      empty={<Text size="sm">No locks.</Text>}
    />
  );
}
