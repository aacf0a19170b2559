// The events of the site.
import { Page } from "../ui/Page";

export default function EventsPage() {
  return <Page title="Events" />;
}
