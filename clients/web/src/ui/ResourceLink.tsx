// The name of a resource as a link to its page; plain text for what has no page.
import { Anchor } from "@mantine/core";
import { Link } from "react-router";
import { pageOf } from "./pages";

interface Props {
  /** The resource name, as virtualMachines/web or operations/12. */
  name: string;
  /** What is shown; the name itself if absent. */
  text?: string;
  /** -1 inside rows that have their own keys. */
  tabIndex?: number;
}

export function ResourceLink({ name, text, tabIndex }: Props) {
  const page = pageOf(name);
  // Inside sentences a link is told by more than its colour; the cells of long lists are nothing but links.
  if (!page) return <span>{text ?? name}</span>;
  return (
    <Anchor component={Link} to={page} inherit underline={tabIndex === -1 ? "hover" : "always"} style={{ overflowWrap: "anywhere" }} tabIndex={tabIndex}>
      {text ?? name}
    </Anchor>
  );
}
