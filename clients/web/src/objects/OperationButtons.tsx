// What can be done with an object: a button for each operation, and where it would be refused, why.
import { Button, Menu, Tooltip, VisuallyHidden } from "@mantine/core";
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
import { useMemo, useState, type MouseEvent } from "react";
import { Link } from "react-router";
import type { Catalogue } from "../forms/catalogue";
import type { AnyObject } from "../live";
import { covers, operationsOn, type ObjectOperation } from "../operations/registry";
import { useCatalogue } from "../operations/useCatalogue";
import { useRoles } from "../operations/use-roles";
import { runPath } from "../routes";
import type { ObjectKind } from "./kinds";
import { isAllowed } from "./refusal";
import { useRefusal } from "./use-refusal";

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
  const operations = useMemo(() => operationsOn(catalogue, kind.type), [catalogue, kind]);
  const roles = useRoles();
  const uses = operations.filter(({ acts }) => !acts);
  return (
    <>
      {operations
        .filter(({ acts }) => acts)
        .map((each) => (
          <OperationButton
            key={each.operation.fullName}
            asked={each}
            kind={kind}
            object={object}
            // Until the roles are known, nobody is kept from what most may do.
            allowed={isAllowed(each, object) && (!roles || covers(roles, each.operation.role))}
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
  asked: ObjectOperation;
  kind: ObjectKind;
  object: AnyObject;
  allowed: boolean;
}

// The same element whether it is allowed or not: who stands on it when that changes still stands on it.
function OperationButton({ asked, kind, object, allowed }: ButtonProps) {
  const { operation: type } = asked;
  const [visited, setVisited] = useState(false);
  const reason = useRefusal(asked, kind, object, visited && !allowed);
  const Icon = ICONS[type.verb];
  // Not `disabled`: the reason must be reachable by pointer and keyboard.
  const refused = !allowed && {
    "data-disabled": true,
    "aria-disabled": true,
    "aria-description": reason,
    onClick: (event: MouseEvent) => event.preventDefault(),
  };
  return (
    <>
      <Tooltip
        label={reason ?? "Asking why it cannot be done now."}
        disabled={allowed}
        multiline
        maw={360}
        withArrow
        events={{ hover: true, focus: true, touch: true }}
      >
        <Button
          size="xs"
          variant={type.destructive ? "outline" : "default"}
          color={type.destructive ? "red" : undefined}
          leftSection={Icon && <Icon size={14} aria-hidden />}
          data-operation-type={type.name}
          component={Link}
          to={runPath(type.name, { object: object.name })}
          onFocus={() => setVisited(true)}
          onBlur={() => setVisited(false)}
          onPointerEnter={() => setVisited(true)}
          onPointerLeave={(event) => setVisited(event.currentTarget === document.activeElement)}
          {...refused}
        >
          {shortTitle(type.title, kind.noun)}
        </Button>
      </Tooltip>
      {/* The reason comes when the button has been read out already. */}
      {visited && !allowed && <VisuallyHidden role="status">{reason}</VisuallyHidden>}
    </>
  );
}

/** A title without the noun of the page that it is on: "Start" of "Start Virtual Machine". */
export function shortTitle(title: string, noun: string): string {
  const rest = title.toLowerCase().endsWith(` ${noun.toLowerCase()}`) ? title.slice(0, -noun.length - 1) : title;
  return rest.replace(/ (to|from|on)$/, "");
}
