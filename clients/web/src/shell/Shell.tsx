// What is around every screen: header, navigation, and the Job Summary pane at the bottom.
import { AppShell, Burger, Group } from "@mantine/core";
import { useDisclosure, useLocalStorage } from "@mantine/hooks";
import type { ReactNode } from "react";
import { NavigationTree } from "../tree/NavigationTree";
import { useNarrow } from "../ui/use-narrow";
import { CreateMenu } from "./CreateMenu";
import { EventCount } from "./EventCount";
import { JobSummaryPane, usePaneHeight } from "./JobSummaryPane";
import { LiveMark } from "./LiveMark";
import { NotLiveBar } from "./NotLiveBar";
import { PersonMenu } from "./PersonMenu";
import { HeaderScreens, DrawerScreens } from "./ScreenLinks";
import classes from "./Shell.module.css";
import { Wordmark } from "./Wordmark";

export function Shell({ children }: { children: ReactNode }) {
  const [drawer, { toggle, close }] = useDisclosure(false);
  const [paneOpen, setPaneOpen] = useLocalStorage({ key: "virtyard.job-summary", defaultValue: true });
  const paneHeight = usePaneHeight(paneOpen);
  const narrow = useNarrow();
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 290, breakpoint: "sm", collapsed: { mobile: !drawer } }}
      footer={{ height: paneHeight }}
      padding="md"
      transitionDuration={0}
    >
      <a className={classes.skip} href="#screen">
        Skip to the screen
      </a>
      <AppShell.Header className={classes.header}>
        <Group gap="xs" wrap="nowrap" miw={0}>
          <Burger
            opened={drawer}
            onClick={toggle}
            hiddenFrom="sm"
            size="sm"
            aria-label={drawer ? "Close the navigation" : "Open the navigation"}
            aria-expanded={drawer}
          />
          <Wordmark onClick={close} />
          <HeaderScreens />
        </Group>
        <Group gap={6} wrap="nowrap">
          <LiveMark />
          <EventCount />
          <CreateMenu />
          <PersonMenu />
        </Group>
      </AppShell.Header>
      {/* A closed drawer is only moved off the screen: neither the keyboard nor a screen reader may come into it there. */}
      <AppShell.Navbar p="xs" className={classes.navbar} aria-label="Navigation" inert={narrow && !drawer}>
        <DrawerScreens onVisit={close} />
        <NavigationTree onVisit={close} />
      </AppShell.Navbar>
      <AppShell.Main id="screen" tabIndex={-1} className={classes.main}>
        <NotLiveBar />
        {children}
      </AppShell.Main>
      <AppShell.Footer>
        <JobSummaryPane open={paneOpen} onToggle={() => setPaneOpen(!paneOpen)} />
      </AppShell.Footer>
    </AppShell>
  );
}
