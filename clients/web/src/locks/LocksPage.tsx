// The locks that are held and waited for.
import { Page } from "../ui/Page";

export default function LocksPage() {
  return <Page title="Locks" />;
}
