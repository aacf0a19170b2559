// What can be done with an object: a button for each operation, and where it would be refused, why.
import { Button, Menu, Tooltip } from "@mantine/core";
import {
  IconDots,
  IconEdit,
  IconPencil,
  IconPlayerPlay,
  IconPlayerStop,
  IconPower,
  IconRefresh,
  IconTrash,
  type TablerIcon,
} from "@tabler/icons-react";
import { Link } from "react-router";
import type { Catalogue, OperationType } from "../forms/catalogue";
import type { AnyObject } from "../live";
import { useCatalogue } from "../operations/useCatalogue";
import { runPath } from "../routes";
import type { ObjectKind } from "./kinds";
import { useAllowed } from "./use-allowed";

const ICONS: Readonly<Record<string, TablerIcon>> = {
  start: IconPlayerPlay,
  stop: IconPlayerStop,
  kill: IconPower,
  restart: IconRefresh,
  refresh: IconRefresh,
  delete: IconTrash,
  forget: IconTrash,
  edit: IconEdit,
  update: IconPencil,
};

/** Those that act on the object as buttons, and those that only use it in a menu behind them. */
export function OperationButtons({ kind, object }: { kind: ObjectKind; object: AnyObject }) {
  const { catalogue } = useCatalogue();
  return catalogue && <Buttons catalogue={catalogue} kind={kind} object={object} />;
}

function Buttons({ catalogue, kind, object }: { catalogue: Catalogue; kind: ObjectKind; object: AnyObject }) {
  const { operations, refusals } = useAllowed(catalogue, kind, object);
  const uses = operations.filter(({ acts }) => !acts);
  return (
    <>
      {operations
        .filter(({ acts }) => acts)
        .map(({ operation }) => (
          <OperationButton
            key={operation.fullName}
            type={operation}
            noun={kind.noun}
            to={runPath(operation.name, { object: object.name })}
            refusal={refusals.get(operation.fullName)}
          />
        ))}
      {uses.length > 0 && (
        <Menu position="bottom-end" shadow="md">
          <Menu.Target>
            <Button size="xs" variant="default" leftSection={<IconDots size={14} aria-hidden />}>
              More
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            {uses.map(({ operation }) => (
              <Menu.Item key={operation.fullName} component={Link} to={runPath(operation.name, { object: object.name })}>
                {operation.title}…
              </Menu.Item>
            ))}
          </Menu.Dropdown>
        </Menu>
      )}
    </>
  );
}

interface ButtonProps {
  type: OperationType;
  noun: string;
  to: string;
  /** Why it would be refused; empty or absent if it would not be, as far as is known. */
  refusal: string | undefined;
}

function OperationButton({ type, noun, to, refusal }: ButtonProps) {
  const Icon = ICONS[type.verb];
  const look = {
    size: "xs",
    variant: type.destructive ? "outline" : "default",
    color: type.destructive ? "red" : undefined,
    leftSection: Icon && <Icon size={14} aria-hidden />,
    "data-operation-type": type.name,
  };
  const words = shortTitle(type.title, noun);
  if (!refusal) {
    return (
      <Button {...look} component={Link} to={to}>
        {words}
      </Button>
    );
  }
  // Not `disabled`: the reason must be reachable by pointer and keyboard.
  return (
    <Tooltip label={refusal} multiline maw={360} withArrow events={{ hover: true, focus: true, touch: true }}>
      <Button {...look} data-disabled aria-disabled aria-description={refusal}>
        {words}
      </Button>
    </Tooltip>
  );
}

/** A title without the noun of the page that it is on: "Start" of "Start Virtual Machine". */
export function shortTitle(title: string, noun: string): string {
  const rest = title.toLowerCase().endsWith(` ${noun.toLowerCase()}`) ? title.slice(0, -noun.length - 1) : title;
  return rest.replace(/ (to|from|on)$/, "");
}
