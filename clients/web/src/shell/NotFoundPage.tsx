// What is shown for an address that no screen has.
import { Anchor, Text } from "@mantine/core";
import { Link, useLocation } from "react-router";
import { Page } from "../ui/Page";

export default function NotFoundPage() {
  const { pathname } = useLocation();
  return (
    <Page title="Nothing here">
      <Text>
        No screen has the address <code>{pathname}</code>.{" "}
        <Anchor component={Link} to="/" underline="always">
          Go to the overview
        </Anchor>
        .
      </Text>
    </Page>
  );
}
