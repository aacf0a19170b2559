// The two halves of the Jobs tab: what has been asked for, and what is asked for again and again.
import { Tabs } from "@mantine/core";
import { useLocation, useNavigate } from "react-router";

export function JobTabs() {
  const { pathname } = useLocation();
  const navigate = useNavigate();
  return (
    <Tabs value={pathname} onChange={(path) => path && void navigate(path)} component="nav" aria-label="Jobs">
      <Tabs.List>
        <Tabs.Tab value="/jobs">Summary</Tabs.Tab>
        <Tabs.Tab value="/jobs/recurring">Recurring</Tabs.Tab>
      </Tabs.List>
    </Tabs>
  );
}
