// The links to the screens that are not about one object: in the header, and in the drawer of a narrow window.
import { IconBell, IconCalendarTime, IconListDetails, IconLock, type TablerIcon } from "@tabler/icons-react";
import { NavLink } from "react-router";
import classes from "./ScreenLinks.module.css";

const LINKS: readonly { to: string; label: string; Icon: TablerIcon }[] = [
  { to: "/jobs", label: "Jobs", Icon: IconListDetails },
  { to: "/jobs/recurring", label: "Recurring", Icon: IconCalendarTime },
  { to: "/events", label: "Events", Icon: IconBell },
  { to: "/locks", label: "Locks", Icon: IconLock },
];

export function HeaderScreens() {
  return (
    <nav className={classes.header} aria-label="Screens">
      {LINKS.map(({ to, label }) => (
        <NavLink key={to} to={to} end className={classes.link!}>
          {label}
        </NavLink>
      ))}
    </nav>
  );
}

export function DrawerScreens({ onVisit }: { onVisit: () => void }) {
  return (
    <nav className={classes.drawer} aria-label="Screens">
      {LINKS.map(({ to, label, Icon }) => (
        <NavLink key={to} to={to} end className={classes.link!} onClick={onVisit}>
          <Icon size={18} aria-hidden />
          {label}
        </NavLink>
      ))}
    </nav>
  );
}
