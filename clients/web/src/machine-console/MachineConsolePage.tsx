// A machine's screen and serial log.
import { Page } from "../ui/Page";

export default function MachineConsolePage() {
  return <Page title="Console" />;
}
