// All objects of one kind, as a table that can be searched.
import { TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { useDeferredValue, useMemo, useState } from "react";
import { useParams } from "react-router";
import { useObjects, type AnyObject } from "../live";
import { Page } from "../ui/Page";
import { KindIcon } from "./KindIcon";
import { capital, kindOf, type ObjectKind } from "./kinds";
import { ObjectTable } from "./ObjectTable";

export default function CollectionPage() {
  const kind = kindOf(useParams().collection ?? "");
  if (!kind) return <Page title="No such kind">There are no objects of this kind.</Page>;
  return <Objects key={kind.collection} kind={kind} />;
}

function Objects({ kind }: { kind: ObjectKind }) {
  const { value, ready } = useObjects(kind.collection);
  const [search, setSearch] = useState("");
  const words = useDeferredValue(search.trim().toLowerCase());
  const found = useMemo(() => (value as readonly AnyObject[]).filter((each) => has(each, words)), [value, words]);
  return (
    <Page
      title={capital(kind.plural)}
      icon={<KindIcon collection={kind.collection} size={26} />}
      lead={ready ? `${value.length.toLocaleString()} in all` : "Loading"}
      actions={
        <TextInput
          size="xs"
          aria-label={`Search ${kind.plural}`}
          placeholder="Search"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
      }
    >
      <ObjectTable
        kind={kind}
        objects={found}
        label={capital(kind.plural)}
        empty={words ? `None has “${search}” in its name.` : ready ? `There are no ${kind.plural} yet.` : "Loading."}
        height="max(20rem, calc(100dvh - 26rem))"
      />
    </Page>
  );
}

function has(object: AnyObject, words: string): boolean {
  return !words || object.name.toLowerCase().includes(words) || object.displayName.toLowerCase().includes(words);
}
