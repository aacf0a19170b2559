// How a host gets its agent: the commands, as they are typed on the control plane and on the host.
import { Code, Collapse, Stack, Text, UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useId } from "react";

const CERTIFICATE = `virtyard pki issue agent/s1 --pki /etc/virtyard/pki --out /etc/virtyard/s1 --host s1.example.org`;
const AGENT = `virtyard agent --name s1 --credentials /etc/virtyard/s1 --inventory control.example.org:7401 \\
    --listen s1.example.org:7404 --storage-root /srv/virtyard`;

export function AgentHelp() {
  const [opened, { toggle }] = useDisclosure(false);
  const id = useId();
  return (
    <Stack gap={6}>
      <UnstyledButton aria-expanded={opened} aria-controls={id} onClick={toggle} w="fit-content">
        <Text size="sm" c="var(--mantine-color-anchor)">
          {opened ? "Hide how to start an agent" : "How to start an agent"}
        </Text>
      </UnstyledButton>
      <Collapse expanded={opened} id={id}>
        <Stack gap={6}>
          <Text size="sm">On the control plane, make the host's certificate, and bring the folder to the host:</Text>
          <Code block tabIndex={0}>
            {CERTIFICATE}
          </Code>
          <Text size="sm">On the host, start the agent with the folder under which it may touch files:</Text>
          <Code block tabIndex={0}>
            {AGENT}
          </Code>
        </Stack>
      </Collapse>
    </Stack>
  );
}
