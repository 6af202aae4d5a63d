"""Entry of the packaged application: MONAI Deploy's packager starts the folder."""

from app import ChestRadiographApp

if __name__ == "__main__":
    ChestRadiographApp().run()
