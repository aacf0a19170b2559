// A machine's serial log: followed as it grows, searched, and downloaded as a whole.
import { ActionIcon, Button, Checkbox, Group, Stack, Text, TextInput } from "@mantine/core";
import { IconChevronDown, IconChevronUp, IconDownload, IconSearch } from "@tabler/icons-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { countOf } from "../ui/counts";
import { problemOf, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import classes from "./SerialLog.module.css";
import { cutAt, linesWith } from "./serialText";
import { useSerialLog, wholeLog } from "./useSerialLog";

export function SerialLog({ machine, title }: { machine: string; title: string }) {
  const { lines, dropped, live, problem } = useSerialLog(machine);
  const [follow, setFollow] = useState(true);
  const [searched, setSearched] = useState("");
  const [place, setPlace] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const found = useMemo(() => linesWith(lines, searched), [lines, searched]);
  const current = found.length > 0 ? found[Math.min(place, found.length - 1)] : undefined;

  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, follow]);

  const go = (to: number) => {
    const next = (to + found.length) % found.length;
    setPlace(next);
    setFollow(false);
    box.current?.querySelector(`[data-line="${found[next]}"]`)?.scrollIntoView({ block: "center" });
  };

  return (
    <Stack gap="sm">
      <Group gap="sm" justify="space-between">
        <Group gap={4}>
          <TextInput
            aria-label="Search the log"
            placeholder="Search"
            leftSection={<IconSearch size={16} aria-hidden />}
            value={searched}
            onChange={(event) => {
              setSearched(event.currentTarget.value);
              setPlace(0);
            }}
            onKeyDown={(event) => event.key === "Enter" && found.length > 0 && go(event.shiftKey ? place - 1 : place + 1)}
          />
          <ActionIcon variant="default" size="lg" aria-label="The one before" disabled={found.length === 0} onClick={() => go(place - 1)}>
            <IconChevronUp size={16} aria-hidden />
          </ActionIcon>
          <ActionIcon variant="default" size="lg" aria-label="The next one" disabled={found.length === 0} onClick={() => go(place + 1)}>
            <IconChevronDown size={16} aria-hidden />
          </ActionIcon>
          <Text size="sm" c="dimmed" role="status">
            {searched && (found.length === 0 ? "not found" : `${Math.min(place, found.length - 1) + 1} of ${countOf(found.length, "line")}`)}
          </Text>
        </Group>
        <Group gap="sm">
          <Text size="sm" c="dimmed">
            {live ? "Live" : "Not live"}
          </Text>
          <Checkbox label="Follow" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />
          <Download machine={machine} />
        </Group>
      </Group>
      {problem && <ProblemAlert title="The serial log cannot be read now" problem={problem} />}
      <div ref={box} className={classes.log} role="log" aria-label={`Serial log of ${title}`} aria-live="off" tabIndex={0}>
        {dropped > 0 && <div className={classes.note}>{dropped} earlier lines are in the download.</div>}
        {lines.length <= 1 && !lines[0] && !problem && <div className={classes.note}>Nothing has been written yet.</div>}
        {lines.map((line, index) => (
          <Line key={dropped + index} number={index} line={line} searched={searched} current={index === current} />
        ))}
      </div>
    </Stack>
  );
}

interface LineProps {
  number: number;
  line: string;
  searched: string;
  current: boolean;
}

function Line({ number, line, searched, current }: LineProps) {
  const parts = cutAt(line, searched);
  return (
    <div data-line={number} className={current ? classes.current : undefined}>
      {parts.map((part, index) => (index % 2 === 1 ? <mark key={index}>{part}</mark> : part))}
      {"\n"}
    </div>
  );
}

function Download({ machine }: { machine: string }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const download = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      const address = URL.createObjectURL(await wholeLog(machine));
      const link = document.createElement("a");
      link.href = address;
      link.download = `${machine.slice(machine.indexOf("/") + 1)}-serial.log`;
      link.click();
      URL.revokeObjectURL(address);
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button variant="default" size="xs" loading={busy} leftSection={<IconDownload size={16} aria-hidden />} onClick={() => void download()}>
        Download
      </Button>
      {problem && (
        <Text size="sm" role="alert">
          {problem.message}
        </Text>
      )}
    </>
  );
}
