// Where the console starts: builds what the tab needs once, and hands it in.
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { App } from "./App";
import { LiveProvider } from "./live";
import { LiveStore } from "./live/store";
import { theme } from "./theme";

const store = new LiveStore();

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <LiveProvider store={store}>
        <BrowserRouter>
          <Notifications />
          <App />
        </BrowserRouter>
      </LiveProvider>
    </MantineProvider>
  </StrictMode>,
);
