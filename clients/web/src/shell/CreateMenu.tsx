// The menu of everything that can be created, found in the descriptor.
import { Button, Menu } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { Link } from "react-router";
import { OPERATION_TYPES } from "../objects/operation-types";
import { runPath } from "../routes";

/** What makes something new, or brings it in. */
const MAKING = new Set(["create", "discover", "import"]);
/** What a newcomer needs first, in that order; the rest follows as the proto has it. */
const FIRST = ["DiscoverServer", "CreateServerPool", "CreateRepository", "CreateNetwork", "CreateVirtualMachine"];

export function CreateMenu() {
  const types = OPERATION_TYPES.filter(({ verb }) => MAKING.has(verb));
  const rank = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const ordered = [...types].sort((a, b) => rank(a.name) - rank(b.name));
  return (
    <Menu position="bottom-end" shadow="md" width={240}>
      <Menu.Target>
        <Button size="xs" leftSection={<IconPlus size={16} aria-hidden />} aria-label="Create something">
          Create
        </Button>
      </Menu.Target>
      <Menu.Dropdown mah="calc(100dvh - 120px)" style={{ overflowY: "auto" }}>
        {ordered.map(({ name, title }) => (
          <Menu.Item key={name} component={Link} to={runPath(name)}>
            {title}…
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
