// What is around every screen: header, navigation, and the Job Summary pane at the bottom.
import { AppShell, Burger, Drawer, Group } from "@mantine/core";
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
  const [drawer, { open, close }] = useDisclosure(false);
  const [paneOpen, setPaneOpen] = useLocalStorage({ key: "virtyard.job-summary", defaultValue: true });
  const paneHeight = usePaneHeight(paneOpen);
  const narrow = useNarrow();
  const opened = narrow && drawer;
  return (
    <AppShell
      // Dialogs are beside it in the page: with the drawer open nothing else can be come to.
      inert={opened}
      header={{ height: 52 }}
      navbar={{ width: 290, breakpoint: "sm", collapsed: { mobile: true } }}
      footer={{ height: paneHeight }}
      padding="md"
      transitionDuration={0}
    >
      <a className={classes.skip} href="#screen">
        Skip to the screen
      </a>
      <AppShell.Header className={classes.header}>
        <Group gap="xs" wrap="nowrap" miw={0}>
          <Burger onClick={open} hiddenFrom="sm" size="sm" aria-label="Open the navigation" aria-haspopup="dialog" aria-expanded={opened} />
          <Wordmark />
          <HeaderScreens />
        </Group>
        <Group gap={6} wrap="nowrap">
          <LiveMark />
          <EventCount />
          <CreateMenu />
          <PersonMenu />
        </Group>
      </AppShell.Header>
      {narrow ? (
        <NavigationDrawer opened={opened} close={close} />
      ) : (
        <AppShell.Navbar p="xs" className={classes.navbar} aria-label="Navigation">
          <NavigationTree />
        </AppShell.Navbar>
      )}
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

/** The navigation of a narrow window: a modal dialog that goes with a visit. */
function NavigationDrawer({ opened, close }: { opened: boolean; close: () => void }) {
  return (
    <Drawer
      opened={opened}
      onClose={close}
      title="Navigation"
      size={320}
      padding="xs"
      transitionProps={{ duration: 0 }}
      classNames={{ content: classes.drawer!, body: classes.drawerBody! }}
      closeButtonProps={{ "aria-label": "Close the navigation" }}
    >
      <DrawerScreens onVisit={close} />
      <NavigationTree onVisit={close} />
    </Drawer>
  );
}
