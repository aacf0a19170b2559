// The locks that people hold or wait for, with what runs under them and the way to give one back.
import { Button, Group, Table, Text } from "@mantine/core";
import { useCallback, useEffect, useRef, useState } from "react";
import { PersonLockState, type PersonLock } from "../api/virtyard/api/jobs/v1/lock_control_service_pb";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { lockControl } from "../client/services";
import { keepFocus } from "../ui/focus";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { problemOf, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useCall } from "../ui/use-call";

const STATES: Partial<Record<PersonLockState, string>> = {
  [PersonLockState.WAITING]: "waits",
  [PersonLockState.HELD]: "held",
  [PersonLockState.ENDING]: "ends with the last operation under it",
  [PersonLockState.RELEASED]: "released",
};

/** @param moment what changes with people's locks, so that they are read again. */
export function PersonLocks({ moment }: { moment: string }) {
  const [locks, setLocks] = useState<readonly PersonLock[]>([]);
  const [problem, setProblem] = useState<Problem>();
  const release = useCall();
  const released = useRef(false);
  const read = useCallback((signal?: AbortSignal): void => {
    lockControl.listPersonLocks({}, signal ? { signal } : {}).then(
      (answer) => {
        setLocks(answer.locks);
        setProblem(undefined);
      },
      (error: unknown) => signal?.aborted || setProblem(problemOf(error)),
    );
  }, []);
  useEffect(() => {
    const abort = new AbortController();
    read(abort.signal);
    return () => abort.abort();
  }, [moment, read]);
  const give = (name: string): void => {
    released.current = true;
    release.run(() => lockControl.releaseLock({ name }), () => read());
  };
  // The button that was pressed goes with its lock.
  useEffect(() => {
    if (released.current) keepFocus();
  }, [locks]);
  if (problem) return <ProblemAlert title="The locks of people cannot be listed" problem={problem} />;
  if (locks.length === 0) return <Text size="sm">No person holds a lock.</Text>;
  return (
    <>
      {release.problem && <ProblemAlert title="The lock could not be released" problem={release.problem} onClose={release.clear} />}
      <Table.ScrollContainer minWidth={760}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              {["Object", "Mode", "State", "Person", "Purpose", "Ends", "Under it", "Action"].map((title) => (
                <Table.Th key={title}>{title}</Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {locks.map((lock) => (
              <Table.Tr key={lock.name} data-lock={lock.name}>
                <Table.Td><ResourceLink name={lock.object} /></Table.Td>
                <Table.Td>{LockMode[lock.mode]}</Table.Td>
                <Table.Td>{STATES[lock.state]}</Table.Td>
                <Table.Td>{lock.principal}</Table.Td>
                <Table.Td>{lock.purpose}</Table.Td>
                <Table.Td><Moment at={millisOf(lock.endTime)} /></Table.Td>
                <Table.Td>
                  <Group gap="xs">
                    {lock.operations.map((name) => (
                      <ResourceLink key={name} name={name} />
                    ))}
                  </Group>
                </Table.Td>
                <Table.Td>
                  <Button
                    variant="default"
                    size="compact-xs"
                    loading={release.busy}
                    onClick={() => give(lock.name)}
                    aria-label={`Release the lock on ${lock.object}`}
                  >
                    Release
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </>
  );
}
