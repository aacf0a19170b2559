// The navigation tree: the whole site with states and locks. Only the rows that are seen are in the page.
import { CloseButton, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useDeferredValue, useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { useLocation, useNavigate } from "react-router";
import { useObjects } from "../live";
import { ancestorsOf, buildForest, visibleRows, type Forest, type TreeNode, type TreeRow } from "./forest";
import { moveFor, rowOf, rowTyped } from "./keys";
import classes from "./Tree.module.css";
import { pageOfNode, TreeRowView } from "./TreeRowView";
import { useChosen } from "./use-chosen";

const ROW_HEIGHT = 30;

/** `onVisit` is called when the reader goes to a page, so that a drawer can close. */
export function NavigationTree({ onVisit }: { onVisit?: () => void }) {
  const { forest, ready } = useForest();
  const [search, setSearch] = useState("");
  const words = useDeferredValue(search.trim());
  const [chosen, choose] = useChosen();
  const rows = useMemo(() => visibleRows(forest, chosen, words), [forest, chosen, words]);
  return (
    <Stack gap="xs" h="100%" mih={0} style={{ flex: 1 }}>
      <TextInput
        size="xs"
        placeholder="Search the site"
        aria-label="Search the site"
        leftSection={<IconSearch size={14} aria-hidden />}
        rightSection={search && <CloseButton size="xs" aria-label="Clear the search" onClick={() => setSearch("")} />}
        value={search}
        onChange={(event) => setSearch(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Escape" && setSearch("")}
        // Escape empties the search first, and closes the drawer around it only then.
        data-mantine-stop-propagation={search ? true : undefined}
      />
      {!ready ? (
        <Stack gap={8} px="xs" aria-busy="true" aria-label="Loading the site">
          {[70, 55, 60, 45, 65].map((width) => (
            <Skeleton key={width} height={16} width={`${width}%`} />
          ))}
        </Stack>
      ) : (
        <Rows forest={forest} rows={rows} choose={choose} {...(onVisit && { onVisit })} />
      )}
      {ready && words && rows.length === 0 && (
        <Text size="sm" c="dimmed" px="xs" role="status">
          Nothing has “{words}” in its name.
        </Text>
      )}
    </Stack>
  );
}

function useForest(): { forest: Forest; ready: boolean } {
  const serverPools = useObjects("serverPools");
  const servers = useObjects("servers");
  const virtualMachines = useObjects("virtualMachines");
  const repositories = useObjects("repositories");
  const networks = useObjects("networks");
  const site = {
    serverPools: serverPools.value,
    servers: servers.value,
    virtualMachines: virtualMachines.value,
    repositories: repositories.value,
    networks: networks.value,
  };
  const forest = useMemo(() => buildForest(site), Object.values(site));
  const ready = [serverPools, servers, virtualMachines, repositories, networks].every((each) => each.ready);
  return { forest, ready };
}

interface RowsProps {
  forest: Forest;
  rows: readonly TreeRow[];
  choose: (keys: readonly string[], open: boolean) => void;
  onVisit?: () => void;
}

function Rows({ forest, rows, choose, onVisit }: RowsProps) {
  const id = useId();
  const scroll = useRef<HTMLDivElement>(null);
  const navigate = useNavigate();
  const selected = useSelected(forest);
  const [activeKey, setActiveKey] = useState<string>();
  const [focused, setFocused] = useState(false);
  const before = useRef(0);
  const active = rowOf(rows, forest, activeKey ?? selected, before.current);
  useEffect(() => {
    before.current = Math.max(active, 0);
  }, [active]);
  const typed = useTyped();
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 8,
    getItemKey: (index) => rows[index]!.node.key,
  });
  useReveal(forest, rows, selected, choose, (index) => virtual.scrollToIndex(index, { align: "auto" }));

  const toggle = useCallback((node: TreeNode, open: boolean) => choose([node.key], open), [choose]);
  const visit = useCallback(
    (node: TreeNode) => {
      setActiveKey(node.key);
      onVisit?.();
    },
    [onVisit],
  );
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const found = rowTyped(rows, active, typed(event));
    const move = found === undefined ? moveFor(event.key, rows, active) : { go: found };
    if (!move) return;
    event.preventDefault();
    const row = rows[active];
    if ("go" in move) {
      setActiveKey(rows[move.go]!.node.key);
      virtual.scrollToIndex(move.go, { align: "auto" });
    } else if ("open" in move) toggle(row!.node, move.open);
    else {
      void navigate(pageOfNode(row!.node));
      visit(row!.node);
    }
  };
  return (
    <div
      ref={scroll}
      className={classes.scroll}
      role="tree"
      aria-label="Site"
      tabIndex={0}
      aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined}
      onKeyDown={press}
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
    >
      <div className={classes.rows} style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map(({ index, key, start }) => (
          <TreeRowView
            key={key}
            row={rows[index]!}
            id={`${id}-${index}`}
            top={start}
            active={index === active}
            focused={focused}
            selected={rows[index]!.node.key === selected}
            onToggle={toggle}
            onVisit={visit}
          />
        ))}
      </div>
    </div>
  );
}

// Letters that follow one another faster than this are of one word.
const ONE_WORD_MS = 700;

/** What has been typed up to now, letter by letter; a key that is no letter begins anew. */
function useTyped(): (event: KeyboardEvent) => string {
  const word = useRef({ text: "", at: 0 });
  return ({ key, timeStamp }) => {
    const goesOn = timeStamp - word.current.at < ONE_WORD_MS ? word.current.text : "";
    // A space is part of a word, and alone it opens the page.
    const text = key.length === 1 && (key !== " " || goesOn) ? goesOn + key : "";
    // The same letter again looks for the next row that begins with it.
    word.current = { text: text && [...text].every((letter) => letter === text[0]) ? text[0]! : text, at: timeStamp };
    return word.current.text;
  };
}

/** The key of the node whose page is on the screen. */
function useSelected(forest: Forest): string | undefined {
  const { pathname } = useLocation();
  const [, , collection, id] = pathname.split("/");
  const name = collection && id && `${collection}/${decodeURIComponent(id)}`;
  return name && forest.byKey.has(name) ? name : undefined;
}

/** Opens the way to the object on the screen, once for each time that it changes, and scrolls to it. */
function useReveal(
  forest: Forest,
  rows: readonly TreeRow[],
  selected: string | undefined,
  choose: RowsProps["choose"],
  scrollTo: (index: number) => void,
) {
  const done = useRef<{ opened?: string; revealed?: string }>({});
  useEffect(() => {
    if (!selected) done.current = {};
    if (!selected || done.current.revealed === selected) return;
    const index = rows.findIndex(({ node }) => node.key === selected);
    const node = forest.byKey.get(selected);
    if (index >= 0) {
      done.current = { opened: selected, revealed: selected };
      scrollTo(index);
    } else if (node && done.current.opened !== selected) {
      done.current.opened = selected;
      choose(ancestorsOf(node), true);
    }
  });
}
