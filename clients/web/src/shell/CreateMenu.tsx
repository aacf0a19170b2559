// The menu of everything that can be created, found in the descriptor.
import { Button, Menu, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { Link } from "react-router";
import { makers } from "../operations/registry";
import { useCatalogue } from "../operations/useCatalogue";
import { runPath } from "../routes";

/** What a newcomer needs first, in that order; the rest follows by title. */
const FIRST = ["DiscoverServer", "CreateServerPool", "CreateRepository", "CreateNetwork", "CreateVirtualMachine"];

export function CreateMenu() {
  const { catalogue, problem } = useCatalogue();
  const types = catalogue ? makers(catalogue) : [];
  const rank = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const ordered = [...types].sort((a, b) => rank(a.name) - rank(b.name));
  return (
    <Menu position="bottom-end" shadow="md" width={240}>
      <Menu.Target>
        <Button size="xs" leftSection={<IconPlus size={16} aria-hidden />}>
          Create
        </Button>
      </Menu.Target>
      <Menu.Dropdown mah="calc(100dvh - 120px)" style={{ overflowY: "auto" }}>
        {problem && (
          <Text size="sm" p="xs">
            What can be created could not be read: {problem.message}
          </Text>
        )}
        {ordered.map(({ fullName, name, title }) => (
          <Menu.Item key={fullName} component={Link} to={runPath(name)}>
            {title}…
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
