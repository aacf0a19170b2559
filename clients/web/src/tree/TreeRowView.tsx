// One row of the navigation tree: its state, its name, the yellow lock, and the worst of its open events.
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { memo } from "react";
import { Link } from "react-router";
import { KindIcon } from "../objects/KindIcon";
import { stateLook } from "../objects/kinds";
import { StateIcon } from "../objects/StateIcon";
import { LockMark } from "../ui/LockMark";
import { pageOf } from "../ui/pages";
import { SeverityMark } from "../ui/SeverityMark";
import type { TreeNode, TreeRow } from "./forest";
import classes from "./Tree.module.css";

interface Props {
  row: TreeRow;
  id: string;
  /** Where it is from the top of the tree, in pixels. */
  top: number;
  /** True for the row that keys act on. */
  active: boolean;
  /** True while the tree has the focus, so that what the active row has to say is said. */
  focused: boolean;
  /** True for the object that is on the screen. */
  selected: boolean;
  onToggle: (node: TreeNode, open: boolean) => void;
  onVisit: (node: TreeNode) => void;
}

export const TreeRowView = memo(function TreeRowView(props: Props) {
  const { row, id, top, active, focused, selected, onToggle, onVisit } = props;
  const { node, level, open } = row;
  return (
    <div
      id={id}
      role="treeitem"
      aria-level={level}
      aria-expanded={open}
      aria-selected={selected}
      aria-posinset={row.position}
      aria-setsize={row.siblings}
      className={classes.row}
      data-active={(active && focused) || undefined}
      data-key={node.key}
      style={{ transform: `translateY(${top}px)`, paddingLeft: (level - 1) * 14 }}
    >
      <span
        className={classes.chevron}
        data-empty={open === undefined || undefined}
        onClick={() => open !== undefined && onToggle(node, !open)}
        aria-hidden
      >
        {open !== undefined && (open ? <IconChevronDown size={16} /> : <IconChevronRight size={16} />)}
      </span>
      <Link className={classes.link} to={pageOfNode(node)} tabIndex={-1} title={node.label} onClick={() => onVisit(node)}>
        {node.object ? <StateIcon object={node.object} /> : node.group && <KindIcon collection={node.group} />}
        <span className={classes.label} data-group={!node.object || undefined} data-quiet={isQuiet(node) || undefined}>
          {node.label}
        </span>
        {!node.object && <span className={classes.count}>{node.children.length}</span>}
      </Link>
      {node.object && <SeverityMark name={node.object.name} />}
      {node.object && <LockMark name={node.object.name} open={active && focused} />}
    </div>
  );
});

function isQuiet(node: TreeNode): boolean {
  return node.object !== undefined && stateLook(node.object).tone === "quiet";
}

/** The page of a node: of its object, or of all objects of a group. */
export function pageOfNode(node: TreeNode): string {
  return (node.object && pageOf(node.object.name)) ?? `/objects/${node.group}`;
}
