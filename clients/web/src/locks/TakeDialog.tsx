// Takes a lock for a person, as for maintenance: on what, how, for how long and what for.
import { Checkbox, Group, NumberInput, Select, TextInput } from "@mantine/core";
import { useState } from "react";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { lockControl } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { useCall } from "../ui/use-call";
import { modeWords } from "./modes";

const MODES = [LockMode.X, LockMode.S].map((mode) => ({ value: String(mode), label: modeWords(mode) }));
const UNITS = [
  { value: "60", label: "minutes" },
  { value: "3600", label: "hours" },
  { value: "86400", label: "days" },
];

interface Props {
  opened: boolean;
  onClose: () => void;
}

export function TakeDialog({ opened, onClose }: Props) {
  const call = useCall();
  const [object, setObject] = useState("");
  const [mode, setMode] = useState<LockMode>(LockMode.X);
  const [count, setCount] = useState(1);
  const [unit, setUnit] = useState(3600);
  const [noWait, setNoWait] = useState(false);
  const close = (): void => {
    setObject("");
    setMode(LockMode.X);
    setCount(1);
    setUnit(3600);
    setNoWait(false);
    onClose();
  };
  const take = (purpose: string): void =>
    call.run(
      () => lockControl.takeLock({ object: object.trim(), mode, purpose, noWait, duration: { seconds: BigInt(Math.round(count * unit)) } }),
      close,
    );
  return (
    <ConfirmDialog opened={opened} onClose={close} title="Take a lock" verb="Take" reasonLabel="What for" reasonRequired call={call} ready={object.trim() !== "" && count > 0} onConfirm={take}>
      <TextInput label="Object" description="Its name, as servers/s1; it must exist." required value={object} onChange={(event) => setObject(event.currentTarget.value)} />
      <Select label="Mode" data={MODES} value={String(mode)} allowDeselect={false} onChange={(value) => setMode(Number(value))} />
      <Group align="flex-end" gap="xs">
        <NumberInput label="For" description="It ends by itself, after 30 days at most." min={1} value={count} onChange={(value) => setCount(Number(value))} />
        <Select aria-label="Unit of time" w={120} data={UNITS} value={String(unit)} allowDeselect={false} onChange={(value) => setUnit(Number(value))} />
      </Group>
      <Checkbox label="Refuse it at once if it cannot be held at once" checked={noWait} onChange={(event) => setNoWait(event.currentTarget.checked)} />
    </ConfirmDialog>
  );
}
