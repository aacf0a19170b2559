// All objects of one kind, as a table.
import { Page } from "../ui/Page";

export default function CollectionPage() {
  return <Page title="Objects" />;
}
