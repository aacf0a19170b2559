// The way from an empty site to a running machine; what is done is seen in the inventory as it changes.
import { Alert, Badge, Button, Group, List, Paper, Skeleton, Stack, Text, ThemeIcon, Title } from "@mantine/core";
import { IconCheck, IconDeviceDesktop } from "@tabler/icons-react";
import { Link } from "react-router";
import { useObjects } from "../live";
import { Page } from "../ui/Page";
import { ResourceLink } from "../ui/ResourceLink";
import { AgentHelp } from "./AgentHelp";
import { consoleOf, nextStep, stepsOf, type Inventory, type Step } from "./steps";

const SHOWN = 5;

export default function FirstRunPage() {
  const { inventory, ready } = useInventory();
  const steps = stepsOf(inventory);
  const next = nextStep(steps);
  const done = steps.filter((step) => step.done).length;
  const consolePath = consoleOf(inventory);
  return (
    <Page
      title="First steps"
      lead={ready ? `From an empty site to a running machine. ${done} of ${steps.length} steps are done.` : "From an empty site to a running machine."}
    >
      {!ready && <Skeleton height={400} maw={860} aria-label="Loading what is there" />}
      {ready && (
        <Stack gap="sm" maw={860}>
          <List listStyleType="none" spacing="sm" styles={{ itemWrapper: { display: "block" }, itemLabel: { display: "block" } }}>
            {steps.map((step, index) => (
              <List.Item key={step.id} aria-current={step === next ? "step" : undefined}>
                <StepCard step={step} number={index + 1} next={step === next} />
              </List.Item>
            ))}
          </List>
          {consolePath && (
            <Alert color="green" variant="outline" title="A machine is running">
              <Group gap="sm">
                <Text size="sm">See what it shows, and talk to it.</Text>
                <Button component={Link} to={consolePath} size="compact-sm" leftSection={<IconDeviceDesktop size={16} aria-hidden />}>
                  Open its console
                </Button>
              </Group>
            </Alert>
          )}
        </Stack>
      )}
    </Page>
  );
}

function useInventory(): { inventory: Inventory; ready: boolean } {
  const servers = useObjects("servers");
  const serverPools = useObjects("serverPools");
  const repositories = useObjects("repositories");
  const images = useObjects("images");
  const virtualMachines = useObjects("virtualMachines");
  const all = [servers, serverPools, repositories, images, virtualMachines];
  return {
    inventory: {
      servers: servers.value,
      serverPools: serverPools.value,
      repositories: repositories.value,
      images: images.value,
      virtualMachines: virtualMachines.value,
    },
    ready: all.every((each) => each.ready),
  };
}

function StepCard({ step, number, next }: { step: Step; number: number; next: boolean }) {
  return (
    <Paper withBorder p="md" style={next ? { borderColor: "var(--mantine-primary-color-filled)", borderWidth: 2 } : undefined}>
      <Group align="flex-start" wrap="nowrap" gap="md">
        <ThemeIcon radius="xl" size="md" variant={step.done ? "filled" : next ? "filled" : "default"} color={step.done ? "green" : undefined} aria-hidden>
          {step.done ? <IconCheck size={16} /> : <Text size="sm" inherit>{number}</Text>}
        </ThemeIcon>
        <Stack gap={6} flex={1} miw={0}>
          <Group gap="xs">
            <Title order={2} size="h3">
              {step.title}
            </Title>
            <Badge variant="outline" color={step.done ? "green" : next ? "indigo" : "gray"} autoContrast>
              {step.done ? "done" : next ? "next" : step.optional ? "optional" : "later"}
            </Badge>
          </Group>
          <Text size="sm">{step.text}</Text>
          {step.id === "servers" && !step.done && <AgentHelp />}
          {step.found.length > 0 && <Found names={step.found} />}
          {step.ways.length > 0 && (
            <Group gap="xs">
              {step.ways.map((way, index) => (
                <Button
                  key={way.path}
                  component={Link}
                  to={way.path}
                  size="xs"
                  variant={next && index === 0 ? "filled" : "default"}
                >
                  {step.done ? way.again : way.label}
                </Button>
              ))}
            </Group>
          )}
        </Stack>
      </Group>
    </Paper>
  );
}

function Found({ names }: { names: readonly string[] }) {
  const more = names.length - SHOWN;
  return (
    <Group gap="xs">
      <Text size="sm" c="dimmed">
        There {names.length === 1 ? "is" : "are"}
      </Text>
      {names.slice(0, SHOWN).map((name) => (
        <Text key={name} size="sm">
          <ResourceLink name={name} />
        </Text>
      ))}
      {more > 0 && (
        <Text size="sm" c="dimmed">
          and {more} more
        </Text>
      )}
    </Group>
  );
}
