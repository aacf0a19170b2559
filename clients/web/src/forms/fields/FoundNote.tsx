// What the search of a reference came to where its list does not show it: nothing there, or more than is shown.
import { Anchor, Text } from "@mantine/core";
import { Link } from "react-router";
import { runPath } from "../../routes";
import { useForm } from "../context";
import type { Found } from "../useReferences";
import { nounOf } from "../words";

interface Props {
  found: Found;
  type: string;
  searched: string;
}

export function FoundNote({ found, type, searched }: Props) {
  const { catalogue } = useForm();
  const noun = nounOf(type);
  if (found.loading) {
    return (
      <Text size="xs" c="dimmed" mt={4}>
        Searching.
      </Text>
    );
  }
  if (found.more) {
    return (
      <Text size="xs" c="dimmed" mt={4} role="status">
        There are more; type a part of the name.
      </Text>
    );
  }
  if (found.candidates.length > 0) return null;
  const maker = catalogue.operations.find(
    (operation) => operation.noun === noun.replaceAll(" ", "-").toLowerCase() && ["create", "discover", "import"].includes(operation.verb),
  );
  return (
    <Text size="xs" c="dimmed" mt={4} role="status">
      {searched ? `No ${noun} has ${searched} in its name. ` : `There is no ${noun} yet. `}
      {maker && !searched && (
        <Anchor component={Link} to={runPath(maker.name)} inherit>
          {maker.title}
        </Anchor>
      )}
    </Text>
  );
}
