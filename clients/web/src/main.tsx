// Where the console starts: builds what the tab needs once, and hands it in.
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./ui/contrast.css";
import { MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { GatewayService } from "./api/virtyard/api/gateway/v1/gateway_service_pb";
import { App } from "./App";
import { clientOf } from "./client/transport";
import { LiveProvider } from "./live";
import { browser, Connection } from "./live/connection";
import { LiveStore } from "./live/store";
import { Notes } from "./shell/Notes";
import { theme } from "./theme";

const store = new LiveStore();
// For as long as the tab lives.
void new Connection(store, clientOf(GatewayService), browser).run(new AbortController().signal);

// Mantine makes style elements as the page runs; the content security policy lets those through that carry the nonce.
const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.nonce ?? "";
const styleNonce = () => nonce;
// What keeps the page still behind an open dialog makes one too, and looks for the nonce under this name.
Object.assign(window, { __webpack_nonce__: nonce });

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={styleNonce}>
      <LiveProvider store={store}>
        <BrowserRouter>
          <Notes />
          <App />
        </BrowserRouter>
      </LiveProvider>
    </MantineProvider>
  </StrictMode>,
);
