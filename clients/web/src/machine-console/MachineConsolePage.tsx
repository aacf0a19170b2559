// A machine's console: its screen and its serial log, while it runs.
import { Alert, Button, Group, Skeleton, Tabs, Text } from "@mantine/core";
import { IconDeviceDesktop, IconFileText } from "@tabler/icons-react";
import { Link, useParams } from "react-router";
import { VirtualMachineState, type VirtualMachine } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { titleOf, useObject } from "../live";
import { runPath } from "../routes";
import { Page } from "../ui/Page";
import { ResourceLink } from "../ui/ResourceLink";
import { MachineScreen } from "./MachineScreen";
import { SerialLog } from "./SerialLog";

export default function MachineConsolePage() {
  const { id = "" } = useParams();
  const name = `virtualMachines/${id}`;
  const { value, ready } = useObject(name);
  const machine = value as VirtualMachine | undefined;
  const title = machine ? titleOf(machine) : id;
  return (
    <Page title={`Console of ${title}`} lead={<Lead name={name} machine={machine} />}>
      {!ready && <Skeleton height={400} aria-label="Loading the machine" />}
      {ready && !machine && <Text>There is no machine of this name.</Text>}
      {ready && machine && <Views name={name} title={title} running={machine.state === VirtualMachineState.RUNNING} />}
    </Page>
  );
}

function Lead({ name, machine }: { name: string; machine: VirtualMachine | undefined }) {
  return (
    <>
      <ResourceLink name={name} />
      {machine?.server && (
        <>
          {" "}
          on <ResourceLink name={machine.server} />
        </>
      )}
    </>
  );
}

function Views({ name, title, running }: { name: string; title: string; running: boolean }) {
  return (
    <Tabs defaultValue="screen" keepMounted={false}>
      <Tabs.List mb="md">
        <Tabs.Tab value="screen" leftSection={<IconDeviceDesktop size={16} aria-hidden />}>
          Screen
        </Tabs.Tab>
        <Tabs.Tab value="serial" leftSection={<IconFileText size={16} aria-hidden />}>
          Serial log
        </Tabs.Tab>
      </Tabs.List>
      <Tabs.Panel value="screen">{running ? <MachineScreen machine={name} title={title} /> : <NotRunning name={name} />}</Tabs.Panel>
      <Tabs.Panel value="serial">
        {!running && <NotRunning name={name} />}
        <SerialLog machine={name} title={title} />
      </Tabs.Panel>
    </Tabs>
  );
}

function NotRunning({ name }: { name: string }) {
  return (
    <Alert mb="sm" variant="outline" color="gray" title="The machine does not run">
      <Group gap="sm">
        <Text size="sm">Its screen is there once it is started.</Text>
        <Button component={Link} size="compact-sm" to={runPath("StartVirtualMachine", { object: name })}>
          Start it
        </Button>
      </Group>
    </Alert>
  );
}
