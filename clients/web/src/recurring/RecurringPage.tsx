// Recurring jobs: schedules, triggers and filters.
import { Page } from "../ui/Page";

export default function RecurringPage() {
  return <Page title="Recurring jobs" />;
}
