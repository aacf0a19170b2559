// The first screen: what the site consists of, and what needs somebody's attention.
import { Page } from "../ui/Page";

export default function HomePage() {
  return <Page title="Overview" />;
}
